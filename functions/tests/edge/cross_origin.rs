//! Which web pages may use the API.

use http::Request;

use crate::support::{Fake, request};

const PAGE: &str = "https://app.example";

fn from_page(method: &str, path: &str, origin: &str) -> Request<Vec<u8>> {
    let mut request = request(method, path, None, None);
    request
        .headers_mut()
        .insert("origin", origin.parse().unwrap());
    if method == "OPTIONS" {
        let wanted = "PATCH".parse().unwrap();
        request
            .headers_mut()
            .insert("access-control-request-method", wanted);
    }
    request
}

#[tokio::test(flavor = "current_thread")]
async fn without_origins_no_page_is_let_in() {
    let fake = Fake::idle();
    for method in ["GET", "OPTIONS"] {
        let answer = fake
            .respond(from_page(method, "/api/v1/users/me", PAGE))
            .await;
        assert!(
            answer
                .headers
                .keys()
                .all(|name| !name.as_str().starts_with("access-control"))
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_listed_page_is_let_in_and_no_other() {
    let fake = Fake::idle().with(&[("CORS_ORIGINS", "https://other.example,https://app.example")]);
    let preflight = fake
        .respond(from_page("OPTIONS", "/api/v1/users/me", PAGE))
        .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), PAGE);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        "GET, HEAD, OPTIONS, PATCH"
    );
    for name in ["authorization", "content-type", "last-event-id"] {
        assert!(
            preflight
                .header("access-control-allow-headers")
                .contains(name)
        );
    }
    assert_eq!(preflight.header("access-control-max-age"), "7200");
    assert!(preflight.header("vary").starts_with("Origin"));

    let answer = fake
        .respond(from_page("GET", "/api/v1/users/me", PAGE))
        .await;
    assert_eq!(answer.status, 401, "a problem can be read by the page, too");
    assert_eq!(answer.header("access-control-allow-origin"), PAGE);
    assert_eq!(
        answer.header("access-control-expose-headers"),
        "retry-after, x-request-id"
    );
    assert_eq!(answer.header("vary"), "Origin");

    for origin in [
        "https://evil.example",
        "https://app.example.evil.example",
        "null",
        "http://app.example",
    ] {
        for method in ["GET", "OPTIONS"] {
            let answer = fake
                .respond(from_page(method, "/api/v1/users/me", origin))
                .await;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
            assert_eq!(answer.header("access-control-allow-methods"), "");
            assert!(answer.header("vary").starts_with("Origin"));
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_star_lets_every_page_in_without_credentials() {
    let fake = Fake::idle().with(&[("CORS_ORIGINS", "*")]);
    let answer = fake.respond(from_page("GET", "/healthz", PAGE)).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}
