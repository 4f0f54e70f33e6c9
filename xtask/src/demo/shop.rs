//! A shop: nginx in front of a small program that asks redis, and redis at the other end of the cable. nginx has what it
//! needs to bear a redis that is slow: a time limit, and a page that it keeps.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::process::Running;
use super::stage::{SERVER_ADDRESS, Stage};
use super::web::nginx;
use crate::process::find_program;

/// nginx, on the loopback of the client's namespace.
pub(super) const SHOP_PORT: u16 = 8088;
/// redis, which the faults name.
pub(super) const REDIS_PORT: u16 = 6379;
/// The program between them.
const STOCK_PORT: u16 = 9088;

/// Ended when dropped.
pub(super) struct Shop {
    _front: Running,
    _stock: Running,
    _redis: Running,
}

impl Shop {
    pub(super) fn open(stage: &Stage, dir: &Path) -> Result<Self> {
        let log = |name: &str| {
            fs::File::create(dir.join(format!("{name}.log")))
                .with_context(|| format!("cannot create the log of {name}"))
        };
        let mut redis = stage
            .server()
            .command(&find_program("redis-server").context("no `redis-server`")?)?;
        redis
            .args(["--port", &REDIS_PORT.to_string(), "--bind", SERVER_ADDRESS])
            .args(["--protected-mode", "no", "--save", "", "--dir"])
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(log("redis")?);
        let redis = Running::start("redis", &mut redis)?;
        let this = std::env::current_exe().context("cannot find this program again")?;
        let mut stock = stage.client().command(&this)?;
        stock
            .args(["demo-stock", "--listen", &format!("127.0.0.1:{STOCK_PORT}")])
            .args(["--redis", &format!("{SERVER_ADDRESS}:{REDIS_PORT}")])
            .stdout(Stdio::null())
            .stderr(log("stock")?);
        let stock = Running::start("stock", &mut stock)?;
        Ok(Self {
            _front: nginx(&stage.client(), dir, "shop", &configuration(dir))?,
            _stock: stock,
            _redis: redis,
        })
    }
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\n\
         master_process off;\n\
         pid {dir}/shop.pid;\n\
         error_log stderr crit;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
           access_log off;\n\
           client_body_temp_path {dir}/shop-body;\n\
           proxy_temp_path {dir}/shop-proxy;\n\
           proxy_cache_path {dir}/shop-cache keys_zone=stock:1m;\n\
           server {{\n\
             listen 127.0.0.1:{SHOP_PORT};\n\
             location / {{\n\
               proxy_pass http://127.0.0.1:{STOCK_PORT};\n\
               proxy_connect_timeout 100ms;\n\
               proxy_read_timeout 100ms;\n\
               proxy_cache stock;\n\
               proxy_cache_valid 200 1s;\n\
               proxy_cache_use_stale error timeout updating http_502 http_504;\n\
             }}\n\
           }}\n\
         }}\n"
    )
}
