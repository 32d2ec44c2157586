//! The runtime's JavaScript interfaces, as far as the worker crate does not bind them, lets their
//! exceptions through, or makes more calls than are needed. Every method here that can throw
//! catches.
//!
//! Source: the types of workerd (`DurableObjectStorage`, `SqlStorage`, `DurableObjectState`,
//! `DurableObjectStub`, `WebSocket`) in Cloudflare's documentation of Durable Objects.

use js_sys::{Date, JsString, Promise, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `ctx.storage`
    #[derive(Clone, Debug)]
    pub type ObjectStorage;

    /// Throws where the class is not backed by SQLite.
    #[wasm_bindgen(method, catch, getter)]
    pub fn sql(this: &ObjectStorage) -> Result<SqlStorage, JsValue>;

    /// Undoes everything that `body` wrote when it throws, and throws the same again.
    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    pub fn transaction_sync(
        this: &ObjectStorage,
        body: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;

    /// The time of the alarm in milliseconds since the epoch, or null.
    #[wasm_bindgen(method, catch, js_name = getAlarm)]
    pub fn get_alarm(this: &ObjectStorage) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    pub fn set_alarm(this: &ObjectStorage, at_millis: f64) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = deleteAlarm)]
    pub fn delete_alarm(this: &ObjectStorage) -> Result<Promise, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// `ctx.storage.sql`
    #[derive(Clone, Debug)]
    pub type SqlStorage;

    #[wasm_bindgen(method, catch, variadic)]
    pub fn exec(
        this: &SqlStorage,
        query: &JsString,
        params: &[JsValue],
    ) -> Result<SqlCursor, JsValue>;

    /// What `exec` returns.
    pub type SqlCursor;

    /// The rows as arrays of values, in the order of the columns.
    #[wasm_bindgen(method, catch)]
    pub fn raw(this: &SqlCursor) -> Result<RawRows, JsValue>;

    #[wasm_bindgen(method, catch, getter, js_name = rowsWritten)]
    pub fn rows_written(this: &SqlCursor) -> Result<f64, JsValue>;

    /// An iterator over rows.
    pub type RawRows;

    #[wasm_bindgen(method, catch, js_name = toArray)]
    pub fn to_array(this: &RawRows) -> Result<RowArray, JsValue>;

    /// An array of arrays of values.
    pub type RowArray;

    #[wasm_bindgen(method, getter)]
    pub fn length(this: &RowArray) -> u32;

    /// All values of all rows, one after the other: brought over in one call.
    #[wasm_bindgen(method, catch)]
    pub fn flat(this: &RowArray) -> Result<Vec<JsValue>, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// `ctx`, for what its sockets need.
    pub type ObjectState;

    /// When the runtime last answered a ping of this socket by itself; null if never.
    #[wasm_bindgen(method, catch, js_name = getWebSocketAutoResponseTimestamp)]
    pub fn auto_response_timestamp(
        this: &ObjectState,
        socket: &web_sys::WebSocket,
    ) -> Result<Option<Date>, JsValue>;

    /// A socket, with what the runtime adds to it.
    pub type ObjectSocket;

    /// Sends a text that is in JavaScript already, so that many sockets can share it.
    #[wasm_bindgen(method, catch)]
    pub fn send(this: &ObjectSocket, text: &JsString) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = serializeAttachment)]
    pub fn serialize_attachment(this: &ObjectSocket, value: &JsValue) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = deserializeAttachment)]
    pub fn deserialize_attachment(this: &ObjectSocket) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// A stub of another object.
    pub type ObjectStub;

    #[wasm_bindgen(method, catch)]
    pub fn fetch(
        this: &ObjectStub,
        url: &str,
        init: &web_sys::RequestInit,
    ) -> Result<Promise, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// An R2 bucket. The worker crate's own binding has no storage class.
    #[derive(Clone, Debug)]
    pub type Bucket;

    #[wasm_bindgen(method, catch)]
    pub fn put(
        this: &Bucket,
        key: &str,
        value: &Uint8Array,
        options: &JsValue,
    ) -> Result<Promise, JsValue>;

    /// The object with its body, or null.
    #[wasm_bindgen(method, catch)]
    pub fn get(this: &Bucket, key: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub fn delete(this: &Bucket, key: &str) -> Result<Promise, JsValue>;

    /// An object of a bucket.
    pub type BucketObject;

    #[wasm_bindgen(method, catch, js_name = arrayBuffer)]
    pub fn array_buffer(this: &BucketObject) -> Result<Promise, JsValue>;
}
