//! One request as its server is to hear it: our number, the server's own names, and headers that say what the body says.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use protocol::json::{Splice, set_member};
use protocol::json_rpc::{self, Id};
use protocol::mcp::{Era, Method, bridge, headers};

use crate::conversation::Outgoing;
use crate::refuse::Refusal;
use crate::request::{Inbound, Span};
use crate::select::Selected;

/// How long a legacy server is asked to keep a task, in milliseconds.
const TASK_TTL_MS: u64 = 3_600_000;

/// The request in the server's era, with our number and the server's own names; every other byte as it came.
pub(crate) fn outgoing(
    inbound: &Inbound,
    method: Method,
    selected: &Selected,
    number: u64,
) -> Result<Outgoing, Refusal> {
    if inbound.era() != selected.spoken {
        return bridged(inbound, method, selected, number);
    }
    let message = &inbound.message;
    let mut splice = Splice::new();
    if let Some(span) = message.id_span() {
        splice.replace(span, number.to_string());
    }
    for (span, own) in &selected.own {
        splice.replace(span.clone(), own.clone());
    }
    if let Some(token) = &inbound.parts.progress_token {
        splice.replace(token.clone(), number.to_string());
    }
    let bytes: Bytes = splice.apply(&message.bytes).into();
    let params = match inbound.era() {
        Era::Modern => mirrored(inbound, selected)?,
        Era::Legacy => Vec::new(),
    };
    Ok(Outgoing {
        id: number,
        message: bytes,
        method: method.as_str(),
        name: selected.header.clone(),
        params,
    })
}

/// The request said in the other era.
fn bridged(
    inbound: &Inbound,
    method: Method,
    selected: &Selected,
    number: u64,
) -> Result<Outgoing, Refusal> {
    let said = own_params(inbound, selected, number);
    let said = match inbound.session() {
        Some(session) => bridge::params_to_modern(&said, &session.standing().said()),
        None => {
            // The mirrors are the client's word to us, and hold or not before anybody is asked.
            mirrored(inbound, selected)?;
            let said = bridge::params_to_legacy(&said);
            said.and_then(|said| as_task(said, selected))
        }
    };
    let params = said.ok_or(Refusal::Params("`params` must be an object".into()))?;
    let mirrors = match selected.spoken {
        Era::Modern => made(inbound, selected)?,
        Era::Legacy => Vec::new(),
    };
    Ok(Outgoing {
        id: number,
        message: json_rpc::request(&Id::number(number), method.as_str(), &params),
        method: method.as_str(),
        name: selected.header.clone(),
        params: mirrors,
    })
}

/// A tool that its server runs only as a task is asked for one; we wait for it in the client's place.
fn as_task(params: String, selected: &Selected) -> Option<String> {
    if selected.as_task {
        set_member(&params, "task", &format!("{{\"ttl\":{TASK_TTL_MS}}}"))
    } else {
        Some(params)
    }
}

/// The params with the server's own names and our number for progress.
fn own_params(inbound: &Inbound, selected: &Selected, number: u64) -> String {
    let message = &inbound.message;
    let Some(whole) = message.body_span() else {
        return "{}".to_owned();
    };
    let within = |span: &Span| span.start - whole.start..span.end - whole.start;
    let mut splice = Splice::new();
    for (span, own) in &selected.own {
        splice.replace(within(span), own.clone());
    }
    if let Some(token) = &inbound.parts.progress_token {
        splice.replace(within(token), number.to_string());
    }
    let params = splice.apply(message.part(&whole).as_bytes());
    String::from_utf8(params).expect("text with text put in is text")
}

/// Checks the headers that mirror arguments, and gives those the server is to get (streamable-http, "Custom headers").
fn mirrored(
    inbound: &Inbound,
    selected: &Selected,
) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
    let Some(said) = &inbound.mirrored else {
        // The client's wire has no headers: they are made from the body.
        return made(inbound, selected);
    };
    if selected.params.is_empty() {
        // What no schema speaks of is passed on untouched.
        return Ok(said.clone());
    }
    let arguments = arguments(inbound)?;
    for param in selected.params.iter() {
        let header = said
            .iter()
            .find(|(name, _)| name.as_str() == param.header)
            .map(|(_, value)| value);
        let wrong = |reason: &'static str| Refusal::HeaderMismatch {
            header: param.header.clone(),
            reason: reason.into(),
        };
        let header = header
            .map(|value| {
                headers::decode(value.as_bytes())
                    .ok_or_else(|| wrong("holds bytes or an encoding that may not stand there"))
            })
            .transpose()?;
        match (header, param.text(&arguments)) {
            (None, None) => {}
            (None, Some(_)) => return Err(wrong("is missing")),
            (Some(_), None) => return Err(wrong("mirrors an argument that is not there")),
            (Some(header), Some(text)) if param.agrees(&header, &text) => {}
            (Some(_), Some(_)) => return Err(wrong("says something else than the body")),
        }
    }
    Ok(said.clone())
}

fn made(inbound: &Inbound, selected: &Selected) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
    if selected.params.is_empty() {
        return Ok(Vec::new());
    }
    let arguments = arguments(inbound)?;
    let header = |param: &headers::Param| {
        let text = param.text(&arguments)?;
        let value = HeaderValue::from_str(&headers::encode(&text)).ok()?;
        Some((HeaderName::try_from(&param.header).ok()?, value))
    };
    Ok(selected.params.iter().filter_map(header).collect())
}

fn arguments(inbound: &Inbound) -> Result<serde_json::Value, Refusal> {
    let Some(span) = &inbound.parts.arguments else {
        return Ok(serde_json::Value::Null);
    };
    serde_json::from_str(inbound.raw(span))
        .map_err(|error| Refusal::Params(error.to_string().into()))
}
