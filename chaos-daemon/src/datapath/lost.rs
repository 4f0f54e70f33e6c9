//! Packets that lines themselves have lost.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Those of one line, and those of all that there have been: a line may be gone when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    here: Arc<AtomicU64>,
    all: Arc<AtomicU64>,
}

impl Lost {
    /// Of one more line.
    pub fn of_another(&self) -> Self {
        Self {
            here: Arc::default(),
            all: Arc::clone(&self.all),
        }
    }

    /// So many more.
    pub fn add(&self, packets: u64) {
        self.here.fetch_add(packets, Relaxed);
        self.all.fetch_add(packets, Relaxed);
    }

    /// Of this line.
    pub fn here(&self) -> u64 {
        self.here.load(Relaxed)
    }

    /// Of all lines.
    pub fn all(&self) -> u64 {
        self.all.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_has_lost_is_kept_when_it_has_gone() {
        let all = Lost::default();
        let (first, second) = (all.of_another(), all.of_another());
        first.add(3);
        second.add(4);
        assert_eq!((first.here(), second.here(), all.all()), (3, 4, 7));
        drop((first, second));
        assert_eq!(all.all(), 7);
    }
}
