//! Panics on purpose, for tests of what comes after one: the runtime begins the instance anew, and
//! every object in it has lost its memory.
//!
//! What always holds: it is compiled only with the feature `fault-injection`, which
//! tests/test-worker alone turns on. A test looks for [`MARK`] in the Worker that is deployed.

use parlance_shared::sql::Param;

/// A text with this in it, before the name of a place, panics where it comes there.
pub const MARK: &str = "parlance-injected-fault:";

/// Panics where one of the parameters asks for it at this place.
#[allow(clippy::panic)]
pub(crate) fn strike(place: &str, params: &[Param<'_>]) {
    let wish = format!("{MARK}{place}");
    let asks = |param: &Param<'_>| matches!(param, Param::Text(text) if text.contains(&wish));
    if params.iter().any(asks) {
        panic!("injected fault {place}");
    }
}
