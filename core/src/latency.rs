//! stub
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {}
impl Histogram { pub(crate) fn record(&mut self, _n: u64) {} pub(crate) fn merge(&mut self, _o: &Histogram) {} }
#[derive(Default)] pub(crate) struct LatencyMonitor {}
#[derive(Default)] pub(crate) struct SlowLog {}
impl SlowLog { pub(crate) fn push(&mut self, _t: u64, _us: u64, _a: &[&[u8]], _p: &str, _n: &str, _m: usize) {} }
