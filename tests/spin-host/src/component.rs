//! Loading and measuring a component.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::Component;
use wasmtime::{Cache, Config, Engine};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::instance::{Factory, linker};
use crate::options::Options;

/// A component that is ready to be instantiated.
pub struct Loaded(pub Factory);

fn engine(is_cached: bool) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    if is_cached {
        config.cache(Some(Cache::from_file(None)?));
    }
    Engine::new(&config)
}

impl Loaded {
    /// Compiles the component, or takes what was compiled before.
    ///
    /// # Errors
    /// When it is no component, or imports what this host does not have.
    pub fn load(options: &Options) -> Result<Self, Box<dyn Error>> {
        let engine = engine(true)?;
        let component = Component::from_file(&engine, &options.component)?;
        Self::link(engine, &component, options)
    }

    fn link(
        engine: Engine,
        component: &Component,
        options: &Options,
    ) -> Result<Self, Box<dyn Error>> {
        let pre = linker(&engine)?.instantiate_pre(component)?;
        Ok(Self(Factory {
            component: ProxyPre::P3(ServicePre::new(pre)?),
            engine,
            database: options.database.clone(),
            variables: Arc::new(options.variables.clone()),
            concurrency: options.concurrency,
            is_ending: Arc::default(),
        }))
    }
}

/// Prints the component's size, and how long it takes to compile and to start.
///
/// # Errors
/// As [`Loaded::load`].
#[allow(clippy::disallowed_methods)] // Measuring is what it is for.
pub async fn measure(options: &Options) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(&options.component)?;
    let engine = engine(false)?;
    let begun = Instant::now();
    let component = Component::new(&engine, &bytes)?;
    let compiled = begun.elapsed();
    let Loaded(factory) = Loaded::link(engine, &component, options)?;
    let begun = Instant::now();
    let mut store = factory.store();
    factory.component.instantiate_async(&mut store).await?;
    let first = begun.elapsed();
    let begun = Instant::now();
    let mut store = factory.store();
    factory.component.instantiate_async(&mut store).await?;
    let next = begun.elapsed();
    println!(
        "component: {} KiB; compiled in {} ms; instantiated cold in {:.2} ms, again in {:.2} ms",
        bytes.len().div_ceil(1024),
        compiled.as_millis(),
        first.as_secs_f64() * 1000.0,
        next.as_secs_f64() * 1000.0,
    );
    Ok(())
}
