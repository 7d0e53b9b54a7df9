//! What was found out of states.

use reprise_chat::{KeptQualification, Verdict as Found};
use reprise_protocol::{QualificationRow, Qualifications, Verdict};

/// All that was found out, and the model for which it can be found out now.
pub fn rows(kept: Vec<KeptQualification>, loaded: Option<String>) -> Qualifications {
    Qualifications { rows: kept.into_iter().map(row).collect(), loaded }
}

fn row(kept: KeptQualification) -> QualificationRow {
    QualificationRow {
        model: kept.model,
        device: kept.device,
        kv_place: kept.kv_place,
        kv_type: kept.kv_type,
        verdict: match kept.found.verdict {
            Found::Identical => Verdict::Identical,
            Found::WithinTolerance => Verdict::WithinTolerance,
            Found::Failed => Verdict::Failed,
        },
        why: kept.found.why,
        // As exact as any moment: JavaScript's numbers hold milliseconds for longer than there are dates.
        at: kept.found.at as f64,
        current: kept.current,
    }
}
