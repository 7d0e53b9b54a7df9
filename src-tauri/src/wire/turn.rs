//! What is asked for, and how long it will take.

use std::time::Duration;

use reprise_chat::Ask as Asked;
use reprise_protocol::{Ask, Settings};

use crate::refusal::Refusal;

/// What the page asks for; new conversations begin with the instructions of the settings.
pub fn ask(ask: Ask, settings: &Settings) -> Result<Asked, Refusal> {
    Ok(match ask {
        Ask::Begin { text } => Asked::Begin { text, system: Some(settings.system_prompt.clone()) },
        Ask::Continue { conversation, text } => {
            Asked::Continue { conversation: conversation.parse()?, parent: None, text }
        }
        Ask::Edit { message, text } => Asked::Edit { message: message.parse()?, text },
        Ask::Regenerate { answer } => Asked::Regenerate { answer: answer.parse()? },
        Ask::Retry { message } => Asked::Retry { message: message.parse()? },
    })
}

/// Time that is left at the rate so far, in milliseconds; `None` before anything was read.
pub fn left_ms(elapsed: Duration, done: u32, of: u32) -> Option<f64> {
    (done > 0).then(|| elapsed.as_secs_f64() * 1000.0 / f64::from(done) * f64::from(of.saturating_sub(done)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_the_rate_so_far() {
        let second = Duration::from_secs(1);
        assert_eq!(left_ms(second, 0, 400), None);
        assert_eq!(left_ms(second, 100, 400), Some(3000.0));
        assert_eq!(left_ms(second, 400, 400), Some(0.0));
    }
}
