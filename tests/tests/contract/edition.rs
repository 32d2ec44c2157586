//! What the editions do not have in common.

use parlance_tests::{Edition, User, server, uuid};

#[tokio::test]
async fn sockets_are_opened_or_refused_with_the_fallbacks_named() {
    let user = User::sign_up(server::shared()).await;
    for path in ["/ws".to_owned(), format!("/conversations/{}/ws", uuid())] {
        let reply = user.api.get(&path).await;
        if Edition::current().has_sockets() {
            reply.problem(426, "upgrade_required");
        } else {
            let problem = reply.problem(501, "not_implemented");
            let detail = problem["detail"].as_str().expect("a detail");
            assert!(detail.contains("/events") && detail.contains("/sync"));
        }
    }
}
