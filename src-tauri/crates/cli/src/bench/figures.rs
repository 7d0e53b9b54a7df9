//! What was measured.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// One thing that was measured several times.
#[derive(Debug, Serialize)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) runs: usize,
}

/// All of one run. The names are a contract: scripts read them.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) cases: Vec<Case>,
    pub(super) ratios: Map<String, Value>,
}

impl Figures {
    /// Adds a case, unless nothing was measured; gives back its median.
    pub(super) fn case(&mut self, name: &'static str, unit: &'static str, mut samples: Vec<f64>) -> f64 {
        samples.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (samples.first(), samples.last()) else { return f64::NAN };
        let median = median(&samples);
        self.cases.push(Case { name, unit, median, min: *min, max: *max, runs: samples.len() });
        median
    }

    /// Adds a ratio.
    pub(super) fn ratio(&mut self, name: &str, value: f64) {
        self.ratios.insert(name.to_owned(), json!(value));
    }
}

/// The middle of samples in order.
pub(super) fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
