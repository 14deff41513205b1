//! The values of sensors: what a handler printed becomes a number, the number a counter's, gauge's, histogram's or
//! summary's, and these become lines of the metrics.

use super::text::Page;
use crate::plan::Sensor;

/// All sensors' values.
#[derive(Default)]
pub struct Meters {}

impl Meters {
    /// Those of these sensors; what `before` knows of the same ones is kept.
    pub fn new(_sensors: &[Sensor], _before: Meters) -> Meters {
        Meters {}
    }

    /// Takes in what a sensor's handler printed.
    ///
    /// # Errors
    /// It is no number: in words, without it.
    pub fn observe(&mut self, _sensor: usize, _text: &str) -> Result<(), String> {
        Ok(())
    }

    /// Adds their lines.
    pub fn write(&self, _page: &mut Page) {}
}
