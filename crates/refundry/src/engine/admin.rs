//! Health and metrics over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use refund_ledger::store::Standing;
use tokio::net::TcpListener;

use super::{Engine, Stage};

/// Answers until the node closes.
pub(crate) async fn run(engine: Arc<Engine>, socket: TcpListener) {
    let mut stage = engine.stage();
    let router = Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(engine);
    let closing = async move {
        let () = Engine::reached(&mut stage, Stage::Closing).await;
    };
    tokio::select! {
        served = axum::serve(socket, router) => {
            if let Err(error) = served {
                tracing::error!(%error, "the admin interface ended");
            }
        }
        () = closing => {}
    }
}

async fn live() -> Response {
    json(StatusCode::OK, r#"{"status":"live"}"#.to_owned())
}

/// 200 while the ledger takes changes and at least one issuer link is up.
async fn ready(State(engine): State<Arc<Engine>>) -> Response {
    let (ready, failed) = engine.look(|core| (core.ready(), core.failed()));
    let standing = engine.store.standing();
    let stage = *engine.stage().borrow();
    let reason = match (standing, ready, failed, stage) {
        (Standing::Holds, true, ..) => {
            return json(StatusCode::OK, r#"{"status":"ready"}"#.to_owned());
        }
        (Standing::TakenOver, ..) => {
            "another node has taken over from this one; the ledger is being opened anew"
        }
        (_, _, true, _) => "the ledger cannot make changes durable; restart the node",
        (_, _, _, Stage::Draining | Stage::Closing) => "the node is stopping",
        (Standing::Suspended, ..) => {
            "the ledger's database is away, or answers too late; it is tried again"
        }
        (Standing::Holds, ..) => "no issuer link is up",
    };
    let body = serde_json::json!({ "status": "not ready", "reason": reason });
    json(StatusCode::SERVICE_UNAVAILABLE, body.to_string())
}

async fn metrics(State(engine): State<Arc<Engine>>) -> Response {
    engine.observe();
    let text = engine
        .metrics
        .as_ref()
        .map(crate::metrics::Metrics::render)
        .unwrap_or_default();
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
