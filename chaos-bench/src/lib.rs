//! What benchmarks say: a [`Row`] is one thing measured beside a peer or a limit, in one run and in turns. The programs that
//! measure print [`Line`]s; `cargo xtask bench` gathers them into [`Numbers`], makes the page of them, and compares them
//! with those of before.
#![forbid(unsafe_code)]

mod benches;
mod check;
mod figures;
mod line;
mod machine;
mod numbers;
mod page;
mod row;

pub use benches::{About, BENCHES, about};
pub use check::{Worse, worse};
pub use figures::{Figures, quantile};
pub use line::Line;
pub use machine::Machine;
pub use numbers::{Absent, Measured, Numbers, Place};
pub use page::{page, text};
pub use row::{Better, Row, Target, Verdict};
