//! Which of several servers is the one to write to.
//!
//! One that takes a connection and then says nothing, since its machine hangs, must not keep a node from the one that has taken its
//! place: so each is asked soon after the one before it, and the first that gives a session is it.

use std::time::Duration;

use futures_util::future::select_ok;
use tokio::time::{sleep, timeout};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::access::Access;
use crate::database::Failure;

/// How long a server may take until a session has begun.
const SERVER_MAX: Duration = Duration::from_secs(5);

/// How much later the next server is asked, so that the first one is preferred where several would do.
const NEXT_AFTER: Duration = Duration::from_millis(100);

type Connection =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// A session on the first server that gives one.
pub(crate) async fn connect(access: &Access) -> Result<(Client, Connection), Failure> {
    let mut wait = Duration::ZERO;
    let mut attempts = Vec::new();
    let encryption = access.encryption.connector().map_err(Failure::Unable)?;
    for mut server in servers(&access.config) {
        if let Some(passwords) = &access.passwords {
            passwords.fill(&mut server).map_err(Failure::Unable)?;
        }
        let encryption = encryption.clone();
        attempts.push(Box::pin(async move {
            sleep(wait).await;
            match timeout(SERVER_MAX, server.connect(encryption)).await {
                Ok(connected) => connected.map_err(Failure::from),
                Err(_) => Err(Failure::Lost(format!(
                    "no session in {} s",
                    SERVER_MAX.as_secs()
                ))),
            }
        }));
        wait = wait.saturating_add(NEXT_AFTER);
    }
    match select_ok(attempts).await {
        Ok((connected, _)) => Ok(connected),
        // Of the server that failed last, which is as good as any.
        Err(Failure::Lost(why)) => Err(Failure::Lost(why)),
        Err(other) => Err(Failure::Lost(other.to_string())),
    }
}

/// A configuration for each of the servers that one names.
fn servers(config: &Config) -> Vec<Config> {
    let count = config.get_hosts().len().max(config.get_hostaddrs().len());
    if count == 0 {
        return vec![config.clone()];
    }
    (0..count).map(|number| server(config, number)).collect()
}

/// All that `config` says, for its server of this number alone.
fn server(config: &Config, number: usize) -> Config {
    let mut one = Config::new();
    one.ssl_mode(config.get_ssl_mode());
    let address = config.get_hostaddrs().get(number);
    match (config.get_hosts().get(number), address) {
        (Some(Host::Tcp(name)), _) => {
            one.host(name);
        }
        // It has no TLS, and no network to listen to.
        (Some(Host::Unix(folder)), _) => {
            one.host_path(folder).ssl_mode(SslMode::Disable);
        }
        // A certificate is for some name, and be it the address.
        (None, Some(address)) => {
            one.host(address.to_string());
        }
        (None, None) => {}
    }
    if let Some(address) = address {
        one.hostaddr(*address);
    }
    let ports = config.get_ports();
    if let Some(port) = ports.get(number).or(ports.first()) {
        one.port(*port);
    }
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|name| one.dbname(name));
    config.get_options().map(|options| one.options(options));
    config
        .get_application_name()
        .map(|name| one.application_name(name));
    config
        .get_connect_timeout()
        .map(|time| one.connect_timeout(*time));
    config
        .get_tcp_user_timeout()
        .map(|time| one.tcp_user_timeout(*time));
    config
        .get_keepalives_interval()
        .map(|time| one.keepalives_interval(time));
    config
        .get_keepalives_retries()
        .map(|retries| one.keepalives_retries(retries));
    one.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .target_session_attrs(config.get_target_session_attrs());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_all_that_was_said() {
        let url = "postgres://name:word@one:1,two:2/ledger?target_session_attrs=read-write&connect_timeout=3\
                   &keepalives_idle=7&sslmode=disable&application_name=node&tcp_user_timeout=9";
        let of = |server: &str| {
            url.replace("one:1,two:2", server)
                .parse::<Config>()
                .unwrap()
        };
        assert_eq!(
            servers(&url.parse().unwrap()),
            [of("one:1"), of("two:2")],
            "{url:?}"
        );
        let one_port = "host=one,two hostaddr=10.0.0.1,10.0.0.2 port=7 user=name";
        let of = |host: u8, name: &str| {
            format!("host={name} hostaddr=10.0.0.{host} port=7 user=name")
                .parse::<Config>()
                .unwrap()
        };
        assert_eq!(
            servers(&one_port.parse().unwrap()),
            [of(1, "one"), of(2, "two")]
        );
        let alone: Config = "host=one user=name".parse().unwrap();
        assert_eq!(servers(&alone), [alone]);
        let nowhere: Config = "user=name".parse().unwrap();
        assert_eq!(servers(&nowhere), [nowhere]);
        assert_eq!(
            servers(&"hostaddr=10.0.0.1 user=name".parse().unwrap()),
            ["host=10.0.0.1 hostaddr=10.0.0.1 user=name"
                .parse::<Config>()
                .unwrap()]
        );
        assert_eq!(
            servers(&"host=/run user=name sslmode=require".parse().unwrap()),
            ["host=/run user=name sslmode=disable"
                .parse::<Config>()
                .unwrap()]
        );
    }
}
