//! stub
pub(crate) struct Wheel { records: Vec<(u64, u32)> }
pub(crate) enum Fired { Gone, Later(u64) }
pub(crate) struct Progress { pub(crate) fired: usize, pub(crate) more: bool }
impl Wheel {
    pub(crate) fn new(_now: u64) -> Self { Self { records: Vec::new() } }
    pub(crate) fn arm(&mut self, d: u64, id: u32) { self.records.push((d, id)); }
    pub(crate) fn advance(&mut self, now: u64, _budget: usize, mut fire: impl FnMut(u32) -> Fired) -> Progress {
        let mut fired = 0;
        let mut i = 0;
        while i < self.records.len() {
            if self.records[i].0 <= now { let (_, id) = self.records.swap_remove(i); fired += 1; if let Fired::Later(d) = fire(id) { self.records.push((d.max(now+1), id)); } } else { i += 1; }
        }
        Progress { fired, more: false }
    }
    pub(crate) fn next_tick(&self) -> Option<u64> { self.records.iter().map(|r| r.0).min() }
    pub(crate) fn bytes(&self) -> usize { self.records.capacity() * 16 }
}
