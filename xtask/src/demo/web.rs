//! The server: nginx on two ports.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::process::{Place, Running};
use crate::process::find_program;

/// The port that the faults name, and the one beside it.
pub(super) const PORT: u16 = 8080;
pub(super) const OTHER_PORT: u16 = 8081;

/// Starts the server.
pub(super) fn start(place: &Place, dir: &Path) -> Result<Running> {
    nginx(place, dir, "nginx", &configuration(dir))
}

/// Starts an nginx, with its configuration and its log in `dir`, under a name.
pub(super) fn nginx(place: &Place, dir: &Path, name: &str, configuration: &str) -> Result<Running> {
    let config = dir.join(format!("{name}.conf"));
    fs::write(&config, configuration).with_context(|| format!("cannot write {}", config.display()))?;
    let log = fs::File::create(dir.join(format!("{name}.log"))).context("cannot create nginx's log")?;
    let nginx = find_program("nginx").context("no `nginx`")?;
    let mut command = place.command(&nginx)?;
    command
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(dir)
        .arg("-c")
        .arg(&config);
    Running::start("nginx", command.stdout(Stdio::null()).stderr(log))
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\n\
         master_process off;\n\
         pid {dir}/nginx.pid;\n\
         error_log stderr warn;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
           access_log off;\n\
           client_body_temp_path {dir}/body;\n\
           server {{\n\
             listen {PORT};\n\
             listen {OTHER_PORT};\n\
             location / {{ return 200 \"ok\\n\"; }}\n\
           }}\n\
         }}\n"
    )
}
