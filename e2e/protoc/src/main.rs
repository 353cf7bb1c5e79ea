//! What prost's build scripts want of protoc: descriptors of `.proto` files. The demo's page has such a build script.
//!
//! Takes the arguments that `prost-build` gives; `e2e/protoc/protoc` builds and runs it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use protox::Compiler;

type Fault = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match Order::read(env::args_os().skip(1)).and_then(Order::carry_out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What to compile, and where to.
#[derive(Default)]
struct Order {
    files: Vec<PathBuf>,
    includes: Vec<PathBuf>,
    output: PathBuf,
    imports: bool,
    source_info: bool,
}

impl Order {
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Fault> {
        let mut order = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().map(PathBuf::from).ok_or("an option without its value");
            match argument.to_str() {
                Some("-I") => order.includes.push(value()?),
                Some("-o") => order.output = value()?,
                Some("--include_imports") => order.imports = true,
                Some("--include_source_info") => order.source_info = true,
                Some(option) if option.starts_with('-') => return Err(format!("unknown option `{option}`").into()),
                _ => order.files.push(argument.into()),
            }
        }
        Ok(order)
    }

    fn carry_out(self) -> Result<(), Fault> {
        let mut compiler = Compiler::new(self.includes)?;
        compiler.include_imports(self.imports).include_source_info(self.source_info).open_files(self.files)?;
        Ok(fs::write(self.output, compiler.encode_file_descriptor_set())?)
    }
}
