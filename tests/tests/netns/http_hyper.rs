//! hyper as a client in a namespace, with the pool that the usual clients of Rust have.

use chaos_tests::Netns;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A client, whose clones share their connections.
#[derive(Clone)]
pub(crate) struct Hyper(Client<HttpConnector, Empty<Bytes>>);

/// An answer.
pub(crate) struct Got {
    pub(crate) status: u16,
    headers: hyper::HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Hyper {
    /// Does something with a client in a namespace. At the end its connections are closed.
    pub(crate) fn enter<T: Send>(netns: &Netns, work: impl AsyncFnOnce(Self) -> T + Send) -> T {
        netns.enter(|| {
            // One thread, for a namespace is a thread's.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            runtime.block_on(async {
                let mut connector = HttpConnector::new();
                connector.set_nodelay(true);
                let client = Client::builder(TokioExecutor::new())
                    .pool_timer(TokioTimer::new())
                    // Every request is one request: nothing is to be counted twice.
                    .retry_canceled_requests(false)
                    .build(connector);
                work(Self(client)).await
            })
        })
    }

    pub(crate) async fn get(&self, url: &str) -> Result<Got, String> {
        let url = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let answer = self.0.get(url).await.map_err(|error| format!("{error:?}"))?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?;
        Ok(Got {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        })
    }
}

impl Hyper {
    /// Asks `count` times, `at_once` at a time; the statuses.
    pub(crate) async fn get_at_once(&self, url: &str, at_once: usize, count: usize) -> Vec<u16> {
        let local = tokio::task::LocalSet::new();
        let left = std::rc::Rc::new(std::cell::Cell::new(count));
        let askers: Vec<_> = (0..at_once)
            .map(|_| {
                let (client, left, url) = (self.clone(), left.clone(), url.to_owned());
                local.spawn_local(async move {
                    let mut statuses = Vec::new();
                    while left.get() > 0 {
                        left.set(left.get() - 1);
                        let answer = client.get(&url).await;
                        statuses.push(answer.unwrap_or_else(|error| panic!("{url}: {error}")).status);
                    }
                    statuses
                })
            })
            .collect();
        local
            .run_until(async {
                let mut statuses = Vec::new();
                for asker in askers {
                    statuses.extend(asker.await.expect("no request fails"));
                }
                statuses
            })
            .await
    }
}
