//! `spin:variables`: the component's variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{Accessor, HasData};

use crate::instance::bindings::spin::variables::variables::{Error, Host, HostWithStore};

/// The variables, by their names.
pub type Variables = Arc<BTreeMap<String, String>>;

/// What the interface sees of an instance.
pub struct View<'a> {
    /// The variables.
    pub variables: &'a Variables,
}

/// The interface.
pub struct Lookup;

impl HasData for Lookup {
    type Data<'a> = View<'a>;
}

impl Host for View<'_> {}

impl<T: Send> HostWithStore<T> for Lookup {
    async fn get(
        store: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, Error>> {
        let found = store.with(|mut access| access.get().variables.get(&name).cloned());
        Ok(found.ok_or(Error::Undefined(name)))
    }
}
