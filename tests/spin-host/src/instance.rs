//! Instances of the component: what each is given, and how long it lives.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use wasmtime::component::{GuestTaskId, Linker, ResourceTable};
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::database::{self, Database};
use crate::variables::{self, Lookup, Variables};

/// The interfaces of Spin.
#[allow(missing_docs)]
pub mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "imports",
        imports: { default: async | trappable },
        with: { "spin:sqlite/sqlite.connection": crate::database::Connection },
    });
}

/// How long an instance that does nothing is kept.
const IDLE: Duration = Duration::from_secs(10);
/// Requests after which an instance is let go.
const REQUESTS: usize = 10_000;

/// What an instance has.
pub struct Given {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    database: PathBuf,
    variables: Variables,
}

impl Given {
    fn database(&mut self) -> database::View<'_> {
        database::View {
            path: &self.database,
            table: &mut self.table,
        }
    }

    fn variables(&mut self) -> variables::View<'_> {
        variables::View {
            variables: &self.variables,
        }
    }
}

impl WasiView for Given {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Given {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: Default::default(),
        }
    }
}

/// A linker with all that a component may import.
///
/// # Errors
/// When an interface is there twice.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<Given>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    bindings::spin::sqlite::sqlite::add_to_linker::<_, Database>(&mut linker, Given::database)?;
    bindings::spin::variables::variables::add_to_linker::<_, Lookup>(
        &mut linker,
        Given::variables,
    )?;
    Ok(linker)
}

/// Makes instances.
pub struct Factory {
    /// The component, ready to be instantiated.
    pub component: ProxyPre<Given>,
    /// What compiled it.
    pub engine: Engine,
    /// The database's file.
    pub database: PathBuf,
    /// The variables.
    pub variables: Variables,
    /// Requests that one instance runs at the same time.
    pub concurrency: usize,
    /// Whether all instances are ended because the host ends.
    pub is_ending: Arc<AtomicBool>,
}

impl Factory {
    /// A store for one instance.
    pub fn store(&self) -> Store<Given> {
        let given = Given {
            table: ResourceTable::new(),
            wasi: WasiCtxBuilder::new()
                .inherit_stdout()
                .inherit_stderr()
                .build(),
            http: WasiHttpCtx::new(),
            database: self.database.clone(),
            variables: Arc::clone(&self.variables),
        };
        Store::new(&self.engine, given)
    }
}

impl HandlerState for Factory {
    type StoreData = Given;
    type WorkerExpiration = IdleTimeout;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Given, IdleTimeout, Reuse>> {
        let mut store = self.store();
        let proxy = self.component.instantiate_async(&mut store).await?;
        Ok(Instance {
            store,
            proxy,
            view: Given::http,
            expiration: IdleTimeout(Box::pin(tokio::time::sleep(IDLE))),
            state: Reuse {
                concurrency: self.concurrency,
                is_ending: Arc::clone(&self.is_ending),
            },
        })
    }
}

/// Lets an instance go that has done nothing for a while.
pub struct IdleTimeout(Pin<Box<Sleep>>);

impl WorkerExpiration for IdleTimeout {
    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        status: WorkerStatus,
        since: Instant,
    ) -> Poll<()> {
        if !matches!(status, WorkerStatus::Idle) {
            return Poll::Pending;
        }
        self.0.as_mut().reset((since + IDLE).into());
        self.0.as_mut().poll(context)
    }
}

/// An instance takes several requests, also at the same time.
pub struct Reuse {
    concurrency: usize,
    is_ending: Arc<AtomicBool>,
}

impl WorkerState for Reuse {
    type StoreData = Given;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= REQUESTS {
            ShouldAccept::Never
        } else if concurrent >= self.concurrency {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _store: StoreContextMut<'_, Given>,
        (): (),
        _task: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        // A long poll may take its time.
        Box::pin(std::future::pending())
    }

    fn drop(&self, _store: Store<Given>, result: Result<(), wasmtime::Error>) {
        if let Err(error) = result
            && !self.is_ending.load(Ordering::Relaxed)
        {
            eprintln!("spin-host: an instance ended: {error:?}");
        }
    }
}
