//! placeholder
/// placeholder
pub struct Structure;
