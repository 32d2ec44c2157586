//! The object's alarm: one at a time, kept by the runtime, and rung again after a failure.
//!
//! Setting it is a write like any other: what is set right after a transaction, without waiting
//! for anything in between, reaches the disk together with it.

use js_sys::futures::JsFuture;
use parlance_shared::time::Timestamp;
use wasm_bindgen::JsCast;
use worker::durable::State;

use crate::bindings::ObjectStorage;
use crate::host::HostError;

/// The object's storage, bound as this crate needs it.
pub(crate) fn raw_storage(state: &State) -> ObjectStorage {
    let storage = state.storage();
    let raw: &wasm_bindgen::JsValue = storage.as_raw().as_ref();
    raw.unchecked_ref::<ObjectStorage>().clone()
}

/// When the alarm will ring, if one is set. While it rings, none is set.
///
/// # Errors
/// When the runtime refuses.
pub async fn get(state: &State) -> Result<Option<Timestamp>, HostError> {
    read(&raw_storage(state)).await
}

async fn read(storage: &ObjectStorage) -> Result<Option<Timestamp>, HostError> {
    let at = JsFuture::from(storage.get_alarm()?).await?;
    Ok(at
        .as_f64()
        .map(|millis| Timestamp::from_millis(millis as i64)))
}

/// Learns what the alarm is set to before any event comes in, as an object is constructed. Were it
/// not to be had, the runtime starts the object anew.
pub fn learn(state: &State, tell: impl FnOnce(Option<Timestamp>) -> worker::Result<()> + 'static) {
    let storage = raw_storage(state);
    let _gate = state.block_concurrency_while(async move {
        let at = read(&storage).await?;
        tell(at)
    });
}

/// Sets the alarm, in place of one that was set before. It counts from the call on; waiting for
/// the future waits until it is kept.
///
/// # Errors
/// When the runtime refuses.
pub async fn set(state: &State, at: Timestamp) -> Result<(), HostError> {
    JsFuture::from(raw_storage(state).set_alarm(at.as_millis() as f64)?).await?;
    Ok(())
}

/// Takes the alarm back, if one is set.
///
/// # Errors
/// When the runtime refuses.
pub async fn delete(state: &State) -> Result<(), HostError> {
    JsFuture::from(raw_storage(state).delete_alarm()?).await?;
    Ok(())
}
