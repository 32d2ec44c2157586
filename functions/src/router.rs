//! Which path and method means what.
//!
//! [`ROUTES`] is the only place where paths stand. A path with a slash at its end is another
//! path. `HEAD` is answered where `GET` is, `OPTIONS` everywhere.

use std::sync::LazyLock;

use http::Method;

/// What a request can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Anyone may ask.
    Public(Public),
    /// Only a caller with a token may ask.
    Private(Private),
    /// Only an admin may ask.
    Admin(Admin),
}

/// What anyone may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Public {
    /// Is the service there?
    Health,
    /// The keys that tokens are verified with.
    KeySet,
    /// Send a code to a number.
    RequestCode,
    /// Sign a device in.
    Login,
    /// Renew a device's session.
    Refresh,
}

/// What an admin may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// The reports of messages.
    ListReports,
    /// Resolve a report.
    ResolveReport,
    /// Suspend an account.
    SuspendUser,
    /// Let a suspended account be used again.
    ReinstateUser,
    /// What admins did.
    ListAudit,
    /// What the service has counted of itself.
    Metrics,
}

/// What a caller with a token may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Private {
    /// Sign the device out.
    Logout,
    /// One's own profile.
    GetProfile,
    /// Change it.
    UpdateProfile,
    /// Another's profile.
    ViewProfile,
    /// Find users by their numbers.
    LookUp,
    /// One's devices.
    ListDevices,
    /// Sign a device out.
    RevokeDevice,
    /// One's conversations.
    ListConversations,
    /// Make a conversation.
    CreateConversation,
    /// Describe a conversation.
    GetConversation,
    /// Change its settings.
    UpdateConversation,
    /// End a group, or take a conversation off one's list.
    DeleteConversation,
    /// Let others into a group.
    AddMembers,
    /// Give a member another role.
    ChangeRole,
    /// Remove a member, or leave.
    RemoveMember,
    /// What one has set for a conversation.
    UpdateSettings,
    /// Whom one has blocked.
    ListBlocks,
    /// Block a user.
    Block,
    /// Lift that.
    Unblock,
    /// Report a message.
    Report,
    /// Its members.
    ListMembers,
    /// Its messages.
    ListMessages,
    /// Send a message.
    SendMessage,
    /// Its events.
    ListEvents,
    /// Open a socket to it.
    ConversationSocket,
    /// Note how far one has read it.
    MarkRead,
    /// Who has received and read a message.
    GetMessageInfo,
    /// Read one message.
    GetMessage,
    /// Write a message anew.
    EditMessage,
    /// Delete a message, for everyone or for oneself.
    DeleteMessage,
    /// React to a message.
    React,
    /// Take a reaction back.
    RemoveReaction,
    /// The messages that are pinned.
    ListPins,
    /// Pin a message.
    Pin,
    /// Take a pinned message down.
    Unpin,
    /// Vote in a message's poll.
    Vote,
    /// End a message's poll.
    ClosePoll,
    /// The thread that hangs on a message.
    ListThread,
    /// Send a message to other conversations.
    Forward,
    /// The messages that one has scheduled.
    ListScheduled,
    /// Take a scheduled message back.
    CancelScheduled,
    /// Begin an upload.
    UploadMedia,
    /// A medium's bytes.
    GetMedia,
    /// What a medium is.
    GetMediaInfo,
    /// A medium's thumbnail.
    GetMediaThumbnail,
    /// Addresses for an upload's parts.
    SignMediaParts,
    /// An upload is done.
    CompleteMedia,
    /// Delete a medium.
    DeleteMedia,
    /// Open a session socket.
    SessionSocket,
    /// The session's frames as a stream of events.
    StreamFrames,
    /// The session's frames, a page at a time.
    PollFrames,
}

impl Private {
    /// Whether it opens a socket, to which a browser's page of any origin could connect.
    #[must_use]
    pub const fn opens_socket(self) -> bool {
        matches!(self, Self::ConversationSocket | Self::SessionSocket)
    }

    /// Whether the token may stand in the query: a browser's `EventSource` cannot set headers.
    #[must_use]
    pub const fn takes_token_in_query(self) -> bool {
        matches!(self, Self::StreamFrames)
    }

    /// Whether it counts as a request of the device: messages and uploads have limits of their
    /// own.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        !matches!(self, Self::SendMessage | Self::UploadMedia)
    }
}

/// A path, a method, and what they mean.
#[derive(Debug)]
pub struct Route {
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// The method.
    pub method: Method,
    /// What they mean.
    pub endpoint: Endpoint,
}

const fn public(method: Method, path: &'static str, endpoint: Public) -> Route {
    Route {
        path,
        method,
        endpoint: Endpoint::Public(endpoint),
    }
}

const fn admin(method: Method, path: &'static str, endpoint: Admin) -> Route {
    Route {
        path,
        method,
        endpoint: Endpoint::Admin(endpoint),
    }
}

const fn private(method: Method, path: &'static str, endpoint: Private) -> Route {
    Route {
        path,
        method,
        endpoint: Endpoint::Private(endpoint),
    }
}

/// All routes.
pub static ROUTES: [Route; 62] = [
    public(Method::GET, "/healthz", Public::Health),
    public(Method::GET, "/.well-known/jwks.json", Public::KeySet),
    public(Method::POST, "/api/v1/auth/code", Public::RequestCode),
    public(Method::POST, "/api/v1/auth/login", Public::Login),
    public(Method::POST, "/api/v1/auth/refresh", Public::Refresh),
    private(Method::POST, "/api/v1/auth/logout", Private::Logout),
    private(Method::GET, "/api/v1/users/me", Private::GetProfile),
    private(Method::PATCH, "/api/v1/users/me", Private::UpdateProfile),
    private(
        Method::GET,
        "/api/v1/users/me/devices",
        Private::ListDevices,
    ),
    private(
        Method::DELETE,
        "/api/v1/users/me/devices/{device_id}",
        Private::RevokeDevice,
    ),
    private(Method::POST, "/api/v1/users/lookup", Private::LookUp),
    private(Method::GET, "/api/v1/users/{user_id}", Private::ViewProfile),
    private(
        Method::GET,
        "/api/v1/conversations",
        Private::ListConversations,
    ),
    private(
        Method::POST,
        "/api/v1/conversations",
        Private::CreateConversation,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}",
        Private::GetConversation,
    ),
    private(
        Method::PATCH,
        "/api/v1/conversations/{conversation_id}",
        Private::UpdateConversation,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}/members",
        Private::ListMembers,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}/messages",
        Private::ListMessages,
    ),
    private(
        Method::POST,
        "/api/v1/conversations/{conversation_id}/messages",
        Private::SendMessage,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}/events",
        Private::ListEvents,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}/ws",
        Private::ConversationSocket,
    ),
    private(
        Method::POST,
        "/api/v1/conversations/{conversation_id}/read",
        Private::MarkRead,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}/info",
        Private::GetMessageInfo,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}",
        Private::GetMessage,
    ),
    private(
        Method::PATCH,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}",
        Private::EditMessage,
    ),
    private(
        Method::DELETE,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}",
        Private::DeleteMessage,
    ),
    private(
        Method::PUT,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}/reactions/{emoji}",
        Private::React,
    ),
    private(
        Method::DELETE,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}/reactions/{emoji}",
        Private::RemoveReaction,
    ),
    private(
        Method::PUT,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}/vote",
        Private::Vote,
    ),
    private(
        Method::PUT,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}/poll/closed",
        Private::ClosePoll,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}/thread",
        Private::ListThread,
    ),
    private(
        Method::POST,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}/forward",
        Private::Forward,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}/pins",
        Private::ListPins,
    ),
    private(
        Method::PUT,
        "/api/v1/conversations/{conversation_id}/pins/{message_id}",
        Private::Pin,
    ),
    private(
        Method::DELETE,
        "/api/v1/conversations/{conversation_id}/pins/{message_id}",
        Private::Unpin,
    ),
    private(
        Method::GET,
        "/api/v1/conversations/{conversation_id}/scheduled",
        Private::ListScheduled,
    ),
    private(
        Method::DELETE,
        "/api/v1/conversations/{conversation_id}/scheduled/{scheduled_id}",
        Private::CancelScheduled,
    ),
    private(
        Method::DELETE,
        "/api/v1/conversations/{conversation_id}",
        Private::DeleteConversation,
    ),
    private(
        Method::POST,
        "/api/v1/conversations/{conversation_id}/members",
        Private::AddMembers,
    ),
    private(
        Method::PATCH,
        "/api/v1/conversations/{conversation_id}/members/{user_id}",
        Private::ChangeRole,
    ),
    private(
        Method::DELETE,
        "/api/v1/conversations/{conversation_id}/members/{user_id}",
        Private::RemoveMember,
    ),
    private(
        Method::PUT,
        "/api/v1/conversations/{conversation_id}/settings",
        Private::UpdateSettings,
    ),
    private(Method::GET, "/api/v1/users/me/blocks", Private::ListBlocks),
    private(
        Method::PUT,
        "/api/v1/users/me/blocks/{user_id}",
        Private::Block,
    ),
    private(
        Method::DELETE,
        "/api/v1/users/me/blocks/{user_id}",
        Private::Unblock,
    ),
    private(
        Method::POST,
        "/api/v1/conversations/{conversation_id}/messages/{message_id}/report",
        Private::Report,
    ),
    admin(Method::GET, "/api/v1/admin/reports", Admin::ListReports),
    admin(
        Method::POST,
        "/api/v1/admin/reports/{report_id}/resolve",
        Admin::ResolveReport,
    ),
    admin(
        Method::PUT,
        "/api/v1/admin/users/{user_id}/suspension",
        Admin::SuspendUser,
    ),
    admin(
        Method::DELETE,
        "/api/v1/admin/users/{user_id}/suspension",
        Admin::ReinstateUser,
    ),
    admin(Method::GET, "/api/v1/admin/audit", Admin::ListAudit),
    admin(Method::GET, "/api/v1/admin/metrics", Admin::Metrics),
    private(Method::POST, "/api/v1/media/upload", Private::UploadMedia),
    private(Method::GET, "/api/v1/media/{media_id}", Private::GetMedia),
    private(
        Method::DELETE,
        "/api/v1/media/{media_id}",
        Private::DeleteMedia,
    ),
    private(
        Method::GET,
        "/api/v1/media/{media_id}/info",
        Private::GetMediaInfo,
    ),
    private(
        Method::GET,
        "/api/v1/media/{media_id}/thumbnail",
        Private::GetMediaThumbnail,
    ),
    private(
        Method::POST,
        "/api/v1/media/{media_id}/parts",
        Private::SignMediaParts,
    ),
    private(
        Method::POST,
        "/api/v1/media/{media_id}/complete",
        Private::CompleteMedia,
    ),
    private(Method::GET, "/api/v1/ws", Private::SessionSocket),
    private(Method::GET, "/api/v1/events", Private::StreamFrames),
    private(Method::GET, "/api/v1/sync", Private::PollFrames),
];

/// A path with all its methods.
struct Path {
    pattern: &'static str,
    endpoints: Vec<(&'static Method, Endpoint)>,
    /// The value of `Allow`: the methods in alphabetical order.
    allow: String,
}

static ROUTER: LazyLock<matchit::Router<Path>> = LazyLock::new(|| {
    let mut patterns: Vec<&'static str> = ROUTES.iter().map(|route| route.path).collect();
    patterns.sort_unstable();
    patterns.dedup();
    let mut router = matchit::Router::new();
    for pattern in patterns {
        let endpoints: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.path == pattern)
            .map(|route| (&route.method, route.endpoint))
            .collect();
        let mut methods: Vec<&str> = endpoints
            .iter()
            .map(|(method, _)| method.as_str())
            .collect();
        methods.push("OPTIONS");
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        let allow = methods.join(", ");
        // Fails only for patterns that contradict each other; a test reaches every route.
        drop(router.insert(
            pattern,
            Path {
                pattern,
                endpoints,
                allow,
            },
        ));
    }
    router
});

/// The segments of a path that a pattern names.
pub type Parameters<'p> = matchit::Params<'static, 'p>;

/// What a request is for.
#[derive(Debug)]
pub enum Resolved<'p> {
    /// This.
    Endpoint {
        /// The path's pattern.
        pattern: &'static str,
        /// What it means.
        endpoint: Endpoint,
        /// What its names stand for, still percent-encoded.
        parameters: Parameters<'p>,
    },
    /// What the path takes.
    Options {
        /// The path's pattern.
        pattern: &'static str,
        /// The methods.
        allow: &'static str,
    },
    /// The path does not take the method.
    WrongMethod {
        /// The path's pattern.
        pattern: &'static str,
        /// The methods that it takes.
        allow: &'static str,
    },
    /// There is no such path.
    Unknown,
}

impl Resolved<'_> {
    /// The path's pattern, where there is such a path.
    #[must_use]
    pub const fn pattern(&self) -> Option<&'static str> {
        match self {
            Self::Endpoint { pattern, .. }
            | Self::Options { pattern, .. }
            | Self::WrongMethod { pattern, .. } => Some(pattern),
            Self::Unknown => None,
        }
    }
}

/// Finds what a request is for.
#[must_use]
pub fn resolve<'p>(method: &Method, path: &'p str) -> Resolved<'p> {
    let Ok(found) = ROUTER.at(path) else {
        return Resolved::Unknown;
    };
    let Path {
        pattern,
        endpoints,
        allow,
    } = found.value;
    let wanted = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let endpoint = endpoints.iter().find(|(method, _)| *method == wanted);
    match endpoint {
        Some((_, endpoint)) => Resolved::Endpoint {
            pattern,
            endpoint: *endpoint,
            parameters: found.params,
        },
        None if method == Method::OPTIONS => Resolved::Options { pattern, allow },
        None => Resolved::WrongMethod { pattern, allow },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    #[test]
    fn every_route_is_reached() {
        for route in &ROUTES {
            let path = route
                .path
                .split('/')
                .map(|segment| {
                    if segment.starts_with('{') {
                        ID
                    } else {
                        segment
                    }
                })
                .collect::<Vec<_>>()
                .join("/");
            match resolve(&route.method, &path) {
                Resolved::Endpoint {
                    endpoint, pattern, ..
                } => {
                    assert_eq!(endpoint, route.endpoint);
                    assert_eq!(pattern, route.path);
                }
                other => panic!("{path}: {other:?}"),
            }
            assert!(matches!(
                resolve(&route.method, &format!("{path}/")),
                Resolved::Unknown
            ));
        }
    }

    #[test]
    fn allow_lists_the_methods_in_order() {
        let Resolved::WrongMethod { allow, .. } = resolve(&Method::PUT, "/api/v1/users/me") else {
            panic!("PUT is not refused");
        };
        assert_eq!(allow, "GET, HEAD, OPTIONS, PATCH");
        let Resolved::Options { allow, .. } = resolve(&Method::OPTIONS, "/api/v1/auth/login")
        else {
            panic!("OPTIONS is refused");
        };
        assert_eq!(allow, "OPTIONS, POST");
    }

    #[test]
    fn what_is_no_path_is_unknown() {
        for path in [
            "",
            "/",
            "/api/v1",
            "/api/v1/users",
            "/api/v1/users/",
            "//healthz",
            "/API/v1/users/me",
            "/api/v1/conversations//messages",
        ] {
            assert!(
                matches!(resolve(&Method::GET, path), Resolved::Unknown),
                "{path:?}"
            );
        }
    }
}
