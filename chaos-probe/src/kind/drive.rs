/// Does `work` while `connection` is kept going, both in this one future, so that dropping it drops both.
pub(super) async fn drive<T>(work: impl Future<Output = T>, connection: impl Future) -> T {
    tokio::pin!(work, connection);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            // What its end means, the work finds out by itself.
            _ = &mut connection, if open => open = false,
        }
    }
}
