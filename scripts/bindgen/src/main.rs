//! Makes of a compiled Worker what a runtime loads: `index.js` and `index_bg.wasm`.
//!
//!     parlance-bindgen COMPILED.wasm DIRECTORY
//!
//! It is wasm-bindgen by its own library, as `worker-build` calls its program, and nothing more:
//! compiled in a fraction of the time of either, and of the version that `Cargo.lock` has.
//! `scripts/build-worker.mjs` does the rest.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [input, directory] = arguments.as_slice() else {
        eprintln!("usage: parlance-bindgen COMPILED.wasm DIRECTORY");
        return ExitCode::from(2);
    };
    match generate(input, directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parlance-bindgen: {}: {error}", input.display());
            ExitCode::FAILURE
        }
    }
}

fn generate(input: &OsString, directory: &OsString) -> Result<(), Box<dyn Error>> {
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(input)
        .out_name("index")
        .module(true)?
        .typescript(false)
        // After a panic the instance is begun anew (scripts/worker-shim.mjs).
        .reset_state_function(true)
        .force_enable_abort_handler(true);
    bindgen.generate(directory)?;
    Ok(())
}
