//! Numbered places in array maps. The place freed longest ago is used first, so that a program that still
//! holds a number of a moment ago does not find somebody else there.

use std::collections::VecDeque;

use super::DatapathError;

/// Free places of one kind.
#[derive(Debug)]
pub struct Slots {
    what: &'static str,
    next: u32,
    end: u32,
    freed: VecDeque<u32>,
}

impl Slots {
    /// Places `start..end`.
    pub fn new(what: &'static str, start: u32, end: u32) -> Self {
        Self {
            what,
            next: start,
            end,
            freed: VecDeque::new(),
        }
    }

    /// Takes one.
    pub fn take(&mut self) -> Result<u32, DatapathError> {
        if self.next < self.end {
            self.next += 1;
            return Ok(self.next - 1);
        }
        self.freed.pop_front().ok_or(DatapathError::Full {
            what: self.what,
            most: self.end as usize,
        })
    }

    /// Gives one back.
    pub fn give(&mut self, slot: u32) {
        self.freed.push_back(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_freed_longest_ago_comes_back_first() {
        let mut slots = Slots::new("places", 1, 4);
        assert_eq!([slots.take().unwrap(), slots.take().unwrap()], [1, 2]);
        slots.give(1);
        slots.give(2);
        assert_eq!(
            [
                slots.take().unwrap(),
                slots.take().unwrap(),
                slots.take().unwrap()
            ],
            [3, 1, 2]
        );
        assert!(matches!(
            slots.take(),
            Err(DatapathError::Full {
                what: "places",
                most: 4
            })
        ));
    }
}
