//! What holds of every route alike.

use http::Method;
use parlance_functions::body::Oversized;
use parlance_functions::router::{Admin, Endpoint, Private, Public, ROUTES, Route};
use serde_json::{Value, json};

use crate::support::{Fake, ID, config, request};

fn path(route: &Route) -> String {
    with_ids(route, ID)
}

fn with_ids(route: &Route, id: &str) -> String {
    let segments = route.path.split('/');
    segments
        .map(|segment| {
            if segment.starts_with('{') {
                id
            } else {
                segment
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn takes_a_body(route: &Route) -> bool {
    route.method == Method::PATCH
        || route.method == Method::POST && route.endpoint != Endpoint::Private(Private::Logout)
        || matches!(
            route.endpoint,
            Endpoint::Private(Private::UpdateSettings) | Endpoint::Admin(Admin::SuspendUser)
        )
}

const ADMIN: &str = "an-admin-token-of-32-characters-or-more";

fn with_admin() -> Fake {
    Fake::idle().with(&[("ADMIN_TOKEN", ADMIN)])
}

/// The token that the route takes.
fn token(fake: &Fake, route: &Route) -> String {
    match route.endpoint {
        Endpoint::Admin(_) => ADMIN.to_owned(),
        _ => fake.token(),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_slash_at_the_end_is_another_path() {
    let fake = Fake::idle();
    for route in &ROUTES {
        let answer = fake
            .ask(route.method.as_str(), &format!("{}/", path(route)), None)
            .await;
        answer.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_wrong_method_is_refused_with_those_that_are_right() {
    let fake = Fake::idle();
    for route in &ROUTES {
        let taken = |method: &str| {
            let mut same_path = ROUTES.iter().filter(|other| other.path == route.path);
            same_path.any(|other| other.method.as_str() == method)
        };
        for method in ["PUT", "TRACE", "BREW"] {
            if taken(method) {
                continue;
            }
            let answer = fake.ask_anonymously(method, &path(route), None).await;
            answer.problem(405, "method_not_allowed");
            let allow: Vec<&str> = answer.header("allow").split(", ").collect();
            assert!(allow.contains(&route.method.as_str()));
            assert!(allow.contains(&"OPTIONS"));
            assert_eq!(allow.contains(&"HEAD"), allow.contains(&"GET"));
            assert!(allow.is_sorted());
        }
        let options = fake.ask_anonymously("OPTIONS", &path(route), None).await;
        assert_eq!(options.status, 204);
        assert!(options.header("allow").contains(route.method.as_str()));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_private_route_needs_a_token_that_holds() {
    let fake = Fake::idle();
    let body = || Some(json!({}));
    for route in &ROUTES {
        let Endpoint::Private(_) = route.endpoint else {
            continue;
        };
        let method = route.method.as_str();
        let answer = fake.ask_anonymously(method, &path(route), body()).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let foreign = Fake::idle().with(&[(
            "TOKEN_KEYS",
            "k1:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI",
        )]);
        for token in ["nonsense", &foreign.token()] {
            let answer = fake
                .respond(request(method, &path(route), Some(token), body()))
                .await;
            answer.problem(401, "unauthenticated");
            assert_eq!(
                answer.header("www-authenticate"),
                "Bearer error=\"invalid_token\""
            );
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_body_must_be_json_of_bounded_size() {
    let fake = with_admin();
    for route in ROUTES.iter().filter(|route| takes_a_body(route)) {
        let (method, path) = (route.method.as_str(), path(route));
        let send = |content_type: Option<&'static str>, body: Vec<u8>| {
            let mut request = request(method, &path, Some(&token(&fake, route)), None);
            if let Some(content_type) = content_type {
                let value = http::HeaderValue::from_static(content_type);
                request.headers_mut().insert("content-type", value);
            }
            *request.body_mut() = body;
            request
        };
        for content_type in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
        ] {
            let answer = fake.respond(send(content_type, b"{}".to_vec())).await;
            answer.problem(415, "unsupported_media_type");
        }
        let json = Some("application/json; charset=utf-8");
        let answer = fake.respond(send(json, vec![b' '; 1024 * 1024 + 1])).await;
        answer.problem(413, "payload_too_large");
        let mut unread = send(json, Vec::new());
        unread.extensions_mut().insert(Oversized);
        fake.respond(unread).await.problem(413, "payload_too_large");
        for body in ["", "{", "[]", "null", "7", "{} {}", "\u{0}"] {
            let answer = fake.respond(send(json, body.as_bytes().to_vec())).await;
            answer.problem(400, "invalid_request");
        }
        let answer = fake.respond(send(json, vec![0xff, 0xfe])).await;
        answer.problem(400, "invalid_request");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_id_in_a_path_must_be_a_canonical_uuid() {
    let fake = with_admin();
    for route in ROUTES.iter().filter(|route| route.path.contains('{')) {
        let name = route.path.split(['{', '}']).nth(1).unwrap();
        for bad in [
            "x",
            "%00",
            "00000000-0000-4000-8000-00000000000A",
            "%2B14155550177",
            "..%2F",
        ] {
            let path = with_ids(route, bad);
            let token = token(&fake, route);
            let answer = fake
                .respond(request(route.method.as_str(), &path, Some(&token), None))
                .await;
            assert_eq!(
                answer.problem(400, "invalid_request"),
                [name],
                "{}",
                route.path
            );
        }
    }
    assert!(!fake.log().contains("14155550177"));
}

#[tokio::test(flavor = "current_thread")]
async fn without_a_configuration_only_the_health_check_answers() {
    let mut fake = Fake::idle();
    let request = |route: &Route| request(route.method.as_str(), &path(route), None, None);
    fake.config = config(&[("TOKEN_KEYS", "k1:not-a-seed"), ("PHONE_HASH_KEY", "")]);
    for route in &ROUTES {
        let answer = fake.respond(request(route)).await;
        if route.endpoint == Endpoint::Public(Public::Health) {
            assert_eq!(answer.json(), json!({"status": "ok"}));
            assert!(fake.lines.take().len() == 1);
            continue;
        }
        answer.problem(503, "unavailable");
        assert!(!String::from_utf8_lossy(&answer.body).contains("TOKEN_KEYS"));
        let log = fake.log();
        assert!(
            log.contains("TOKEN_KEYS") && log.contains("PHONE_HASH_KEY"),
            "{log}"
        );
        assert!(!log.contains("not-a-seed"));
        assert_eq!(fake.lines.take().len(), 2);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_answer_is_named_kept_from_caches_and_logged_once() {
    let fake = Fake::idle();
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/nothing?phone_number=%2B14155550177", 404),
        ("PUT", "/healthz", 405),
        ("OPTIONS", "/healthz", 204),
        ("GET", "/api/v1/users/me", 401),
    ] {
        let mut named = request(method, path, None, None);
        named
            .headers_mut()
            .insert("x-request-id", "trace-1".parse().unwrap());
        let answer = fake.respond(named).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-request-id"), "trace-1");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let lines = fake.lines.take();
        let [line] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["request_id"], "trace-1");
        assert_eq!(line["status"], status);
        assert_eq!(line["method"], method);
        assert_eq!(line["time"], "2025-11-24T16:00:00.000Z");
        assert_eq!(line["code"].is_null(), status < 400);
        assert!(!line.to_string().contains("4155550177"));
    }
    let unnamed = fake.ask_anonymously("GET", "/healthz", None).await;
    assert_eq!(unnamed.header("x-request-id").len(), 32);
}

#[tokio::test(flavor = "current_thread")]
async fn head_is_get_without_a_body() {
    let fake = Fake::idle();
    let get = fake
        .ask_anonymously("GET", "/.well-known/jwks.json", None)
        .await;
    let head = fake
        .ask_anonymously("HEAD", "/.well-known/jwks.json", None)
        .await;
    assert!(!get.body.is_empty() && head.body.is_empty());
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), get.header("content-type"));
    let refused = fake.ask_anonymously("HEAD", "/api/v1/users/me", None).await;
    assert_eq!((refused.status, refused.body.len()), (401, 0));
}
