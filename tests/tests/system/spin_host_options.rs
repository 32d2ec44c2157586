//! The command line of the host of Spin components, with the tests in its own file. They are
//! compiled here, since the host is a tool that is kept (scripts/tools.mjs): wasmtime would have to
//! be compiled for them.

#[path = "../../spin-host/src/options.rs"]
#[allow(dead_code)]
mod options;
