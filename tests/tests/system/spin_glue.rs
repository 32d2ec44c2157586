//! The glue to Spin, and the host itself, proved with the component of tests/sql-spin, which
//! `make test` builds.

use parlance_tests::eventually;
use parlance_tests::host::{self, Host};
use serde_json::{Value, json};

/// How long a body may be.
const LIMIT: usize = 1024 * 1024;

#[tokio::test]
async fn spin_sqlite_keeps_the_contract_of_the_storage_seam() {
    let host = Host::start(&[]);
    assert_eq!(host.ask("/conformance").await, json!([]));
    assert_eq!(host.ask("/conformance").await, json!([]), "a second time");
}

#[tokio::test]
async fn a_second_writer_is_told_that_the_database_is_busy_and_a_reader_sees_what_was_before() {
    let host = Host::start(&[]);
    let seen = host.ask("/busy").await;
    let expected = json!({ "writer": "storage is busy", "reader": 0, "after": null });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_fails_leaves_nothing_behind_and_what_was_kept_survives_a_kill() {
    let mut host = Host::start(&[]);
    host.keep("first").await;
    assert_eq!(host.ask("/undone").await, json!(["first"]));
    // A connection that was left within a transaction holds nobody up.
    host.keep("second").await;
    host.restart();
    host.keep("third").await;
    host.restart();
    let kept = host.ask("/entries").await;
    assert_eq!(kept, json!(["first", "second", "third"]));
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_with_the_address_that_the_host_saw() {
    let host = Host::start(&[]);
    let request = host
        .client
        .put(host.at("/request?a=b%20c"))
        // A client cannot say who it is.
        .header("spin-client-addr", "192.0.2.1:1234")
        .body(vec![7; 1000]);
    let seen: Value = request.send().await.unwrap().json().await.unwrap();
    let expected = json!({
        "method": "PUT", "path": "/request", "query": "a=b%20c", "bytes": 1000,
        "oversized": false, "address": "127.0.0.1",
    });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_body_over_the_limit_is_marked_and_not_kept() {
    let host = Host::start(&[]);
    let request = host
        .client
        .post(host.at("/request"))
        .body(vec![7; LIMIT + 1]);
    let seen: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(seen["oversized"], true);
    assert_eq!(seen["bytes"], 0);
    let request = host.client.post(host.at("/request")).body(vec![7; LIMIT]);
    let seen: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(seen["oversized"], false);
    assert_eq!(seen["bytes"], LIMIT);
}

#[tokio::test]
async fn an_instance_runs_requests_at_the_same_time_up_to_its_concurrency() {
    for (concurrency, shares) in [("1", false), ("8", true)] {
        let host = Host::start(&["--concurrency", concurrency]);
        let naps = (0..8).map(|_| host.ask("/nap"));
        let naps = futures_util::future::join_all(naps).await;
        let most = naps.iter().filter_map(Value::as_u64).max();
        assert_eq!(most > Some(1), shares, "{concurrency}: {naps:?}");
    }
}

#[tokio::test]
async fn a_stream_comes_as_it_is_made_and_ends_with_its_client() {
    let host = Host::start(&[]);
    let mut stream = host.client.get(host.at("/stream")).send().await.unwrap();
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "1\n");
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "2\n");
    assert_eq!(host.ask("/entries").await, json!([]), "it is not over yet");
    drop(stream);
    eventually("the stream to end with its client", async || {
        (host.ask("/entries").await == json!(["dropped"])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_trap_costs_its_own_instance_only() {
    let host = Host::start(&[]);
    let response = host.client.get(host.at("/trap")).send().await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(host.ask("/entries").await, json!([]));
    eventually("the trap to be logged", async || {
        host.log().contains("an instance ended").then_some(())
    })
    .await;
}

#[tokio::test]
async fn sigterm_ends_it_with_success_and_without_complaint() {
    let mut host = Host::start(&[]);
    let stream = host.client.get(host.at("/stream")).send().await.unwrap();
    assert_eq!(host.terminate(), Some(0));
    assert!(!host.log().contains("ended"), "{}", host.log());
    drop(stream);
}

#[test]
fn a_taken_port_is_named() {
    let host = Host::start(&[]);
    let address = host.at("").replace("http://", "");
    let refused = host::run(&["--listen", &address], &host.state.path().join("other.db"));
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains(&address), "{told}");
}

#[test]
fn measuring_prints_size_and_times() {
    let state = tempfile::tempdir().unwrap();
    let measured = host::run(&["--measure"], &state.path().join("none.db"));
    assert!(measured.status.success());
    let told = String::from_utf8_lossy(&measured.stdout);
    assert!(told.contains("KiB") && told.contains("cold"), "{told}");
}
