//! stub
/// stub
#[derive(Debug)]
pub struct CompactOptions;
/// stub
#[derive(Debug)]
pub struct CompactReport;
