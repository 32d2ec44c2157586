//! The archive's store: an R2 bucket.
//!
//! What always holds: a deployment without the binding has no archive, and conversations then keep
//! all of their events.

use std::rc::Rc;

use js_sys::futures::JsFuture;
use js_sys::{ArrayBuffer, Object, Reflect, Uint8Array};
use parlance_shared::conversation::archive::{ArchiveReply, ArchiveStep, HotWindow, StorageClass};
use wasm_bindgen::{JsCast, JsValue};
use worker::Env;

use crate::bindings::{Bucket, BucketObject};
use crate::host::{self, HostError};

/// The bucket's binding (`wrangler.toml`).
const BINDING: &str = "ARCHIVE";
/// How many of the newest events stay in a conversation's object.
const WINDOW_EVENTS: &str = "HOT_WINDOW_EVENTS";
/// How many days events stay there.
const WINDOW_DAYS: &str = "HOT_WINDOW_DAYS";

/// The objects that conversations archive.
#[derive(Debug, Clone)]
pub struct ArchiveStore {
    bucket: Rc<Bucket>,
}

impl ArchiveStore {
    /// The store, where the deployment has one.
    #[must_use]
    pub fn of(env: &Env) -> Option<Self> {
        let value = Reflect::get(env.as_ref(), &JsValue::from_str(BINDING)).ok()?;
        value.is_object().then(|| Self {
            bucket: Rc::new(value.unchecked_into()),
        })
    }

    /// What an object holds; none where there is no such object.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        let found = JsFuture::from(self.bucket.get(name)?).await?;
        if found.is_null() || found.is_undefined() {
            return Ok(None);
        }
        let object: BucketObject = found.unchecked_into();
        let buffer = JsFuture::from(object.array_buffer()?).await?;
        let buffer: ArrayBuffer = buffer
            .dyn_into()
            .map_err(|_| HostError("an object's body is no buffer".to_owned()))?;
        Ok(Some(Uint8Array::new(&buffer).to_vec()))
    }

    async fn put(&self, name: &str, bytes: &[u8], class: StorageClass) -> Result<(), HostError> {
        let options = Object::new();
        let class = match class {
            StorageClass::Standard => "Standard",
            StorageClass::InfrequentAccess => "InfrequentAccess",
        };
        Reflect::set(&options, &"storageClass".into(), &class.into())?;
        // A copy: the bytes in the program's memory may move while they are sent.
        let bytes = Uint8Array::from(bytes);
        let stored = JsFuture::from(self.bucket.put(name, &bytes, &options)?).await?;
        if stored.is_null() {
            return Err(HostError("the object was not stored".to_owned()));
        }
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), HostError> {
        JsFuture::from(self.bucket.delete(name)?).await?;
        Ok(())
    }

    /// Takes a step of a conversation's archiving; none of [`ArchiveStep::Pause`].
    ///
    /// # Errors
    /// When the store fails: the step may have been taken or not.
    pub async fn take(&self, step: &ArchiveStep) -> Result<Option<ArchiveReply>, HostError> {
        Ok(match step {
            ArchiveStep::Put { name, bytes, class } => {
                self.put(name, bytes, *class).await?;
                Some(ArchiveReply::Stored)
            }
            ArchiveStep::Get { name } => Some(ArchiveReply::Got(self.get(name).await?)),
            ArchiveStep::Delete { name } => {
                self.delete(name).await?;
                Some(ArchiveReply::Deleted)
            }
            ArchiveStep::Pause => None,
        })
    }
}

/// The hot window of the deployment: the default for what is not set, or not as it must be, which
/// is logged.
#[must_use]
pub fn hot_window(env: &Env) -> HotWindow {
    let read = |name: &str, window: HotWindow, with: fn(HotWindow, &str) -> _| {
        let Ok(variable) = env.var(name) else {
            return window;
        };
        match with(window, &variable.to_string()) {
            Ok(window) => window,
            Err(wrong) => {
                host::log_failure("host", "bad_variable", wrong);
                window
            }
        }
    };
    let window = read(WINDOW_EVENTS, HotWindow::default(), HotWindow::with_events);
    read(WINDOW_DAYS, window, HotWindow::with_days)
}
