//! chaos-spec
