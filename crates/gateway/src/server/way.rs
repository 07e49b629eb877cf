//! From a resource to a way of reaching the server.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use resources::{
    EnvValue, Finding, Header, Remote, RemoteTransport, ResourceSet, Stdio, ValueSource,
};
use transport::outbound::{Target, TargetLimits, Trust, Waits, parse_certificates};
use url::Url;

use crate::conversation::Way;
use crate::upstream::{HttpLink, Program};

/// Variables every child process gets, because programs cannot be found or cannot run without them.
const ENV_ALWAYS: [&str; 10] = [
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "TERM", "SHELL",
];

pub(super) fn find(
    set: &ResourceSet,
    server: &resources::Server,
    name: &Arc<str>,
    supervisor: &PathBuf,
) -> Result<Way, Box<Finding>> {
    match (&server.spec.remote, &server.spec.stdio) {
        (Some(remote), _) => over_http(set, server, name, remote),
        (None, Some(stdio)) => as_child(set, server, name, stdio, supervisor),
        (None, None) => Err(finding(
            server,
            "spec",
            "neither `remote` nor `stdio` is given",
        )),
    }
}

fn over_http(
    set: &ResourceSet,
    server: &resources::Server,
    name: &Arc<str>,
    remote: &Remote,
) -> Result<Way, Box<Finding>> {
    let url = Url::parse(&remote.url)
        .map_err(|error| finding(server, "spec.remote.url", &error.to_string()))?;
    let timeouts = &server.spec.timeouts;
    let waits = Waits {
        connect: timeouts.connect.as_std(),
        // No part of a call may take longer than the whole.
        first_byte: timeouts.first_byte.as_std().min(timeouts.total.as_std()),
        idle: Some(timeouts.idle.as_std().min(timeouts.total.as_std())),
    };
    let trust = trust(set, server)?;
    let target = Target::new(&url, &trust, waits, TargetLimits::default())
        .map_err(|error| finding(server, "spec.remote.url", &error.to_string()))?;
    let path = url.query().map_or_else(
        || url.path().to_owned(),
        |query| format!("{}?{query}", url.path()),
    );
    let path = path
        .parse()
        .map_err(|_| finding(server, "spec.remote.url", "bad path"))?;
    let fixed = fixed_headers(set, server)?;
    let link = Arc::new(HttpLink::new(name.clone(), Arc::new(target), path, fixed));
    Ok(match remote.transport {
        RemoteTransport::StreamableHTTP => Way::Http(link, url),
        RemoteTransport::SSE => Way::LegacySse(link, url),
    })
}

fn trust(set: &ResourceSet, server: &resources::Server) -> Result<Trust, Box<Finding>> {
    let Some(source) = server.spec.tls.as_ref().and_then(|tls| tls.ca.as_ref()) else {
        return Ok(Trust::System);
    };
    let pem = value(set, server, "spec.tls.ca", source)?;
    let certificates = parse_certificates(pem.expose().as_bytes())
        .map_err(|error| finding(server, "spec.tls.ca", &error.to_string()))?;
    Ok(Trust::Certificates(certificates))
}

fn fixed_headers(set: &ResourceSet, server: &resources::Server) -> Result<HeaderMap, Box<Finding>> {
    let mut headers = HeaderMap::new();
    if let Some(source) = server
        .spec
        .auth
        .as_ref()
        .and_then(|auth| auth.bearer.as_ref())
    {
        let token = value(set, server, "spec.auth.bearer", source)?;
        let text = format!("Bearer {}", token.expose().trim());
        headers.insert(
            AUTHORIZATION,
            secret_value(server, "spec.auth.bearer", &text)?,
        );
    }
    for (
        at,
        Header {
            name,
            value: plain,
            value_from,
        },
    ) in server.spec.headers.iter().enumerate()
    {
        let field = format!("spec.headers[{at}]");
        let key = HeaderName::try_from(name.as_str())
            .map_err(|error| finding(server, &field, &error.to_string()))?;
        let text = match (plain, value_from) {
            (Some(plain), _) => plain.clone(),
            (None, Some(source)) => value(set, server, &field, source)?
                .expose()
                .trim()
                .to_owned(),
            (None, None) => String::new(),
        };
        headers.insert(key, secret_value(server, &field, &text)?);
    }
    Ok(headers)
}

fn secret_value(
    server: &resources::Server,
    field: &str,
    text: &str,
) -> Result<HeaderValue, Box<Finding>> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| finding(server, field, "the value cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn as_child(
    set: &ResourceSet,
    server: &resources::Server,
    name: &Arc<str>,
    stdio: &Stdio,
    supervisor: &PathBuf,
) -> Result<Way, Box<Finding>> {
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    let passed = ENV_ALWAYS
        .into_iter()
        .chain(stdio.pass_env.iter().map(String::as_str));
    for key in passed {
        if let Some(value) = std::env::var_os(key) {
            env.push((key.into(), value));
        }
    }
    for (key, given) in &stdio.env {
        let text = match given {
            EnvValue::Plain(text) => text.clone(),
            EnvValue::From(source) => value(set, server, &format!("spec.stdio.env.{key}"), source)?
                .expose()
                .to_owned(),
        };
        env.retain(|(known, _)| known != key.as_str());
        env.push((key.into(), text.into()));
    }
    let mut command: Vec<OsString> = stdio.command.iter().map(Into::into).collect();
    // The word `marque` alone names the running program.
    if let Some(first) = command.first_mut().filter(|first| *first == "marque") {
        *first = supervisor.into();
    }
    let working_directory = match (&server.base_dir, &stdio.working_directory) {
        (Some(base), Some(directory)) => Some(base.join(directory)),
        (None, Some(directory)) => Some(directory.into()),
        (base, None) => base.clone(),
    };
    let server = name.clone();
    Ok(Way::Program(Arc::new(Program {
        server,
        command,
        env,
        working_directory,
        supervisor: supervisor.clone(),
    })))
}

fn value(
    set: &ResourceSet,
    server: &resources::Server,
    field: &str,
    source: &ValueSource,
) -> Result<resources::Secret, Box<Finding>> {
    set.value(source, &server.namespace).map_err(|found| {
        let found = found.field(field);
        Box::new(match &server.origin {
            Some(origin) => found.at(origin.clone()),
            None => found,
        })
    })
}

fn finding(server: &resources::Server, field: &str, message: &str) -> Box<Finding> {
    let found = Finding::error(
        "unusable-server",
        format!("server `{}`: {message}", server.id),
    )
    .field(field);
    Box::new(match &server.origin {
        Some(origin) => found.at(origin.clone()),
        None => found,
    })
}
