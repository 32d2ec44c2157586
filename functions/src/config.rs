//! The deployment's configuration, read once and checked whole.
//!
//! What always holds: an error names variables and what they must be, never what they hold.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use parlance_shared::account::call::AccountName;
use parlance_shared::limiter::{Limit, LimiterName};
use parlance_shared::limits;
use parlance_shared::protocol::auth::PhoneNumber;
use parlance_storage::local::UrlKey;
use parlance_storage::s3::S3;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::cors::Origins;
use crate::token::{Keys, base64url};
use crate::verification::Provider;
use crate::verification::twilio::Twilio;

/// Bytes of the key that hashes phone numbers, at least.
const PHONE_HASH_KEY_BYTES: usize = 32;
/// Characters of the admin token, at least.
const ADMIN_TOKEN_CHARS: usize = 32;

/// Every variable that [`Config::read`] asks for.
pub const VARIABLES: [&str; 18] = [
    "TOKEN_KEYS",
    "PHONE_HASH_KEY",
    "DEVELOPMENT",
    "CODE_PROVIDER",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_FROM",
    "TWILIO_BASE_URL",
    "ADMIN_TOKEN",
    "CORS_ORIGINS",
    "RATE_LIMIT_SCALE",
    "S3_ENDPOINT",
    "S3_BUCKET",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "S3_REGION",
    "MEDIA_UNUSED_SECONDS",
    "HEARTBEAT_SECONDS",
];

/// The configuration of a deployment.
#[derive(Debug)]
pub struct Config {
    /// The keys of access tokens (`TOKEN_KEYS`).
    pub keys: Keys,
    /// Names accounts by their numbers (`PHONE_HASH_KEY`).
    pub phone_hash_key: PhoneHashKey,
    /// Whether this is a developer's own deployment (`DEVELOPMENT`).
    pub development: bool,
    /// Who sends verification codes (`CODE_PROVIDER`).
    pub code_provider: Provider,
    /// Which web pages may use the API (`CORS_ORIGINS`).
    pub cors: Origins,
    /// What rate limits are multiplied by; 0 turns them off (`RATE_LIMIT_SCALE`).
    pub rate_limit_scale: f64,
    /// What admins prove themselves with (`ADMIN_TOKEN`); without it there are none.
    pub admin_token: Option<AdminToken>,
    /// Where the bytes of media are (`S3_...`).
    pub media: MediaStorage,
    /// How long an upload that was sent nowhere is kept (`MEDIA_UNUSED_SECONDS`).
    pub unused_media: Duration,
    /// How often clients ping (`HEARTBEAT_SECONDS`).
    pub heartbeat: Duration,
}

/// Where the bytes of media are.
#[derive(Debug, Clone)]
pub enum MediaStorage {
    /// At an S3 endpoint, to which clients are sent.
    S3(Box<S3>),
    /// In the bucket that the platform has bound, if it has: in development only, since all bytes
    /// then pass through the service.
    Local(UrlKey),
    /// Nowhere.
    None,
}

/// The token of admins: kept as its digest alone.
pub struct AdminToken([u8; 32]);

impl AdminToken {
    fn new(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether it is `presented`; takes the same time either way.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        self.0.ct_eq(&presented).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(hidden)")
    }
}

/// The key that hashes phone numbers, and addresses. It must never change: accounts are found by it.
pub struct PhoneHashKey(Vec<u8>);

impl PhoneHashKey {
    /// The account object of `number`.
    #[must_use]
    pub fn account(&self, number: &PhoneNumber) -> AccountName {
        AccountName::of(number, &self.0)
    }

    /// The bucket of `address`.
    #[must_use]
    pub fn limiter(&self, limit: Limit, address: IpAddr) -> LimiterName {
        LimiterName::address(limit, address, &self.0)
    }
}

impl fmt::Debug for PhoneHashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneHashKey(hidden)")
    }
}

/// What is wrong with one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableError {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong, as a phrase that follows the name.
    pub message: String,
}

/// What is wrong with the configuration: everything, so that it can be put right at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(Vec<VariableError>);

impl ConfigError {
    /// The variables that are wrong.
    #[must_use]
    pub fn variables(&self) -> &[VariableError] {
        &self.0
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{} {}", error.variable, error.message)?;
        }
        Ok(())
    }
}

/// Reads variables and gathers what is wrong with them.
struct Reader<F> {
    variable: F,
    errors: Vec<VariableError>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// A variable's value; one that is blank is not set.
    fn optional(&self, name: &str) -> Option<String> {
        (self.variable)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn required(&mut self, name: &'static str) -> Option<String> {
        let value = self.optional(name);
        if value.is_none() {
            self.wrong(name, "is not set");
        }
        value
    }

    /// The value, or a note of why there is none.
    fn check<T, E: fmt::Display>(&mut self, name: &'static str, value: Result<T, E>) -> Option<T> {
        value
            .map_err(|error| self.wrong(name, error.to_string()))
            .ok()
    }

    fn wrong(&mut self, variable: &'static str, message: impl Into<String>) {
        self.errors.push(VariableError {
            variable,
            message: message.into(),
        });
    }

    fn keys(&mut self) -> Option<Keys> {
        let text = self.required("TOKEN_KEYS")?;
        self.check("TOKEN_KEYS", Keys::parse(&text))
    }

    fn phone_hash_key(&mut self) -> Option<PhoneHashKey> {
        let text = self.required("PHONE_HASH_KEY")?;
        let key = base64url(&text)
            .filter(|bytes| bytes.len() >= PHONE_HASH_KEY_BYTES)
            .map(PhoneHashKey)
            .ok_or("must be at least 32 bytes in base64url");
        self.check("PHONE_HASH_KEY", key)
    }

    fn development(&mut self) -> bool {
        match self.optional("DEVELOPMENT").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => {
                self.wrong("DEVELOPMENT", "must be 1 or not set");
                false
            }
        }
    }

    fn code_provider(&mut self, development: bool) -> Option<Provider> {
        match self.required("CODE_PROVIDER")?.as_str() {
            "dev" if development => Some(Provider::Dev),
            "dev" => {
                self.wrong("CODE_PROVIDER", "may be dev only where DEVELOPMENT is 1");
                None
            }
            "twilio" => self.twilio(development).map(Provider::Twilio),
            _ => {
                self.wrong("CODE_PROVIDER", "must be dev or twilio");
                None
            }
        }
    }

    fn twilio(&mut self, development: bool) -> Option<Twilio> {
        let account = self.required("TWILIO_ACCOUNT_SID");
        let token = self.required("TWILIO_AUTH_TOKEN");
        let from = self.required("TWILIO_FROM");
        let base = self.optional("TWILIO_BASE_URL");
        let twilio = Twilio::new(&account?, &token?, &from?, base.as_deref(), development);
        twilio
            .map_err(|error| self.wrong(error.variable, error.message))
            .ok()
    }

    fn admin_token(&mut self) -> Option<AdminToken> {
        let token = self.optional("ADMIN_TOKEN")?;
        if token.len() < ADMIN_TOKEN_CHARS || token.contains(char::is_whitespace) {
            let message = format!("must have at least {ADMIN_TOKEN_CHARS} characters, no spaces");
            self.wrong("ADMIN_TOKEN", message);
            return None;
        }
        Some(AdminToken::new(&token))
    }

    fn cors(&mut self) -> Option<Origins> {
        let text = self.optional("CORS_ORIGINS").unwrap_or_default();
        self.check("CORS_ORIGINS", Origins::parse(&text))
    }

    fn media(&mut self, development: bool, secret: Option<&PhoneHashKey>) -> MediaStorage {
        match S3::read(&self.variable, development) {
            Ok(Some(s3)) => MediaStorage::S3(Box::new(s3)),
            Ok(None) if development => secret.map_or(MediaStorage::None, |PhoneHashKey(secret)| {
                MediaStorage::Local(UrlKey::derived(secret))
            }),
            Ok(None) => MediaStorage::None,
            Err(errors) => {
                for error in errors {
                    self.wrong(error.variable, error.message);
                }
                MediaStorage::None
            }
        }
    }

    fn unused_media(&mut self) -> Duration {
        let seconds = self.optional("MEDIA_UNUSED_SECONDS").map(|text| {
            let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
            self.check(
                "MEDIA_UNUSED_SECONDS",
                seconds.ok_or("must be a number from 1"),
            )
        });
        seconds
            .flatten()
            .map_or(limits::UNUSED_MEDIA, Duration::from_secs)
    }

    fn heartbeat(&mut self) -> Duration {
        let heartbeat = self.optional("HEARTBEAT_SECONDS").map(|text| {
            let heartbeat = limits::heartbeat(&text);
            self.check("HEARTBEAT_SECONDS", heartbeat.ok_or(limits::HEARTBEAT_IS))
        });
        heartbeat.flatten().unwrap_or(limits::HEARTBEAT)
    }

    fn rate_limit_scale(&mut self) -> Option<f64> {
        let Some(text) = self.optional("RATE_LIMIT_SCALE") else {
            return Some(1.0);
        };
        let scale = text
            .parse::<f64>()
            .ok()
            .filter(|scale| scale.is_finite() && *scale >= 0.0);
        self.check("RATE_LIMIT_SCALE", scale.ok_or("must be a number from 0"))
    }
}

impl Config {
    /// Reads the configuration through `variable`, which gives a variable's value by its name.
    ///
    /// # Errors
    /// [`ConfigError`], with all that is wrong.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            variable,
            errors: Vec::new(),
        };
        let keys = reader.keys();
        let phone_hash_key = reader.phone_hash_key();
        let development = reader.development();
        let code_provider = reader.code_provider(development);
        let cors = reader.cors();
        let rate_limit_scale = reader.rate_limit_scale();
        let admin_token = reader.admin_token();
        let media = reader.media(development, phone_hash_key.as_ref());
        let unused_media = reader.unused_media();
        let heartbeat = reader.heartbeat();
        match (keys, phone_hash_key, code_provider, cors, rate_limit_scale) {
            (
                Some(keys),
                Some(phone_hash_key),
                Some(code_provider),
                Some(cors),
                Some(rate_limit_scale),
            ) if reader.errors.is_empty() => Ok(Self {
                keys,
                phone_hash_key,
                development,
                code_provider,
                cors,
                rate_limit_scale,
                admin_token,
                media,
                unused_media,
                heartbeat,
            }),
            _ => Err(ConfigError(reader.errors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let keys = format!("k1:{SEED}");
        let base = [
            ("TOKEN_KEYS", keys.as_str()),
            ("PHONE_HASH_KEY", SEED),
            ("DEVELOPMENT", "1"),
            ("CODE_PROVIDER", "dev"),
        ];
        Config::read(|name| {
            changes
                .iter()
                .chain(&base)
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn wrong(changes: &[(&str, &str)]) -> Vec<&'static str> {
        let error = read(changes).unwrap_err();
        for (_, value) in changes {
            assert!(
                value.len() < 5 || !error.to_string().contains(value),
                "{error} repeats a value"
            );
        }
        error
            .variables()
            .iter()
            .map(|error| error.variable)
            .collect()
    }

    #[test]
    fn the_least_that_is_needed_is_enough() {
        let config = read(&[]).unwrap();
        assert_eq!(config.cors, Origins::None);
        assert!((config.rate_limit_scale - 1.0).abs() < f64::EPSILON);
        assert!(matches!(config.code_provider, Provider::Dev));
        assert!(
            (read(&[("RATE_LIMIT_SCALE", "0")]).unwrap().rate_limit_scale).abs() < f64::EPSILON
        );
    }

    #[test]
    fn every_variable_that_is_asked_for_is_listed() {
        let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let config = Config::read(|name| {
            asked.borrow_mut().insert(name.to_owned());
            (name == "CODE_PROVIDER").then(|| "twilio".to_owned())
        });
        assert!(config.is_err());
        let listed = VARIABLES.map(ToOwned::to_owned).into_iter().collect();
        assert_eq!(asked.into_inner(), listed);
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let error = Config::read(|_| None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "TOKEN_KEYS is not set; PHONE_HASH_KEY is not set; CODE_PROVIDER is not set"
        );
        assert_eq!(
            wrong(&[("CODE_PROVIDER", "twilio"), ("TWILIO_FROM", " ")]),
            ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM"]
        );
    }

    #[test]
    fn the_dev_provider_needs_the_development_flag() {
        assert_eq!(wrong(&[("DEVELOPMENT", "")]), ["CODE_PROVIDER"]);
        assert_eq!(wrong(&[("DEVELOPMENT", "0")]), ["CODE_PROVIDER"]);
        assert_eq!(
            wrong(&[("DEVELOPMENT", "true!")]),
            ["DEVELOPMENT", "CODE_PROVIDER"]
        );
    }

    #[test]
    fn a_variable_that_does_not_fit_is_named_and_not_repeated() {
        for (variable, value) in [
            ("TOKEN_KEYS", "k1:secret-that-is-no-seed"),
            ("PHONE_HASH_KEY", "c2hvcnQta2V5"),
            (
                "PHONE_HASH_KEY",
                "not base64url at all, but long enough to be a key",
            ),
            ("CODE_PROVIDER", "pigeon-post"),
            ("CORS_ORIGINS", "pages.example.org"),
            ("ADMIN_TOKEN", "too-short-to-be-a-token"),
            ("RATE_LIMIT_SCALE", "-1.5e9"),
            ("RATE_LIMIT_SCALE", "infinity"),
            ("RATE_LIMIT_SCALE", "NaN"),
            ("MEDIA_UNUSED_SECONDS", "a day"),
            ("MEDIA_UNUSED_SECONDS", "0"),
            ("HEARTBEAT_SECONDS", "0"),
            ("HEARTBEAT_SECONDS", "often"),
            ("HEARTBEAT_SECONDS", "301"),
        ] {
            assert_eq!(wrong(&[(variable, value)]), [variable], "{value:?}");
        }
    }

    #[test]
    fn twilio_is_reached_over_https_only_but_in_development() {
        let twilio = |base: &str, development: &str| {
            read(&[
                ("CODE_PROVIDER", "twilio"),
                ("TWILIO_ACCOUNT_SID", "AC00"),
                ("TWILIO_AUTH_TOKEN", "secret-token"),
                ("TWILIO_FROM", "+14155550199"),
                ("TWILIO_BASE_URL", base),
                ("DEVELOPMENT", development),
            ])
            .map(|_| ())
            .map_err(|error| error.variables()[0].variable)
        };
        assert_eq!(twilio("", ""), Ok(()));
        assert_eq!(twilio("https://sms.example.com/", ""), Ok(()));
        assert_eq!(twilio("http://127.0.0.1:4010", "1"), Ok(()));
        assert_eq!(twilio("http://127.0.0.1:4010", ""), Err("TWILIO_BASE_URL"));
        assert_eq!(
            twilio("https://sms.example.com/?a=b", "1"),
            Err("TWILIO_BASE_URL")
        );
        assert_eq!(twilio("sms.example.com", "1"), Err("TWILIO_BASE_URL"));
    }

    const S3_SETTINGS: [(&str, &str); 4] = [
        ("S3_ENDPOINT", "https://account.r2.example.com"),
        ("S3_BUCKET", "media"),
        ("S3_ACCESS_KEY_ID", "an-access-key"),
        ("S3_SECRET_ACCESS_KEY", "an-s3-secret"),
    ];

    #[test]
    fn media_are_at_an_endpoint_or_in_development_in_the_bound_bucket() {
        assert!(matches!(
            read(&S3_SETTINGS).unwrap().media,
            MediaStorage::S3(_)
        ));
        assert!(matches!(read(&[]).unwrap().media, MediaStorage::Local(_)));
        let mut deployed = vec![
            ("DEVELOPMENT", ""),
            ("CODE_PROVIDER", "twilio"),
            ("TWILIO_ACCOUNT_SID", "AC00"),
            ("TWILIO_AUTH_TOKEN", "secret-token"),
            ("TWILIO_FROM", "+14155550199"),
        ];
        assert!(matches!(read(&deployed).unwrap().media, MediaStorage::None));
        deployed.extend(S3_SETTINGS);
        assert!(matches!(
            read(&deployed).unwrap().media,
            MediaStorage::S3(_)
        ));
        deployed.insert(0, ("S3_ENDPOINT", "http://127.0.0.1:9000"));
        assert_eq!(wrong(&deployed), ["S3_ENDPOINT"]);
        assert_eq!(wrong(&S3_SETTINGS[..3]), ["S3_SECRET_ACCESS_KEY"]);
    }

    #[test]
    fn no_secret_is_printed() {
        let config = read(&[
            ("CODE_PROVIDER", "twilio"),
            ("TWILIO_ACCOUNT_SID", "AC00"),
            ("TWILIO_AUTH_TOKEN", "secret-token"),
            ("TWILIO_FROM", "+14155550199"),
            S3_SETTINGS[0],
            S3_SETTINGS[1],
            S3_SETTINGS[2],
            S3_SETTINGS[3],
        ])
        .unwrap();
        let printed = format!("{config:?}");
        for secret in [SEED, "secret-token", "155550199", "an-s3-secret"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
