//! The load generator against the issuer: its books say what is right, and whatever is not is noticed.

use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use simulators::issuer::{Issuer, IssuerConfig, Kind};
use simulators::load::{Deed, Load, LoadConfig, LoadError, Report};

/// All that an issuer alone gets right: it knows no ceilings.
const MIX: &str = "purchase=40,refund=30,void=10,reversal=10,repeat=10";

fn config(issuer: &Issuer, spec: &'static Spec, framing: Framing) -> LoadConfig {
    let mut config = LoadConfig::new(issuer.address().to_string(), spec, framing);
    config.connections = 3;
    config.window = 5;
    config.warm_up = Duration::from_millis(50);
    config.duration = Duration::from_millis(250);
    config.mix = MIX.parse().expect("a mix");
    config
}

async fn run(config: LoadConfig) -> Report {
    let run = || Load::start(config).map(Load::finish);
    let report = tokio::task::spawn_blocking(run).await;
    report.expect("no panic").expect("the issuer listens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_of_both_sides_agree() {
    for (spec, framing, threads) in [
        (Spec::iso87_ascii(), "len2", 1),
        (Spec::iso87_binary(), "len4-ascii", 2),
    ] {
        let framing = Framing::by_name(framing).expect("a preset");
        let issuer = Issuer::start(IssuerConfig::new(spec, framing)).await;
        let issuer = issuer.expect("a free port");
        let mut config = config(&issuer, spec, framing);
        config.threads = threads;
        config.warm_up = Duration::from_millis(400);
        config.duration = Duration::from_millis(100);
        let report = run(config).await;
        assert!(report.is_right(), "{report}");
        let books = issuer.stop().await;
        let counts = books.counts();
        assert_eq!(
            (report.sent, report.answered),
            (counts.received, counts.answered)
        );
        assert!(
            report.measured_answers > 100 && report.rate() > 100.0,
            "{report}"
        );
        assert!(report.measured_answers * 2 < report.answered, "{report}");
        assert!(report.latency_us(0.5) > 1.0 && report.latency_us(1.0) >= report.latency_us(0.5));
        assert!(!report.processor.is_zero());
        let sent = |deed: Deed| report.deeds[deed as usize];
        let seen = |kind: Kind| {
            let all = books.transactions().iter();
            all.filter(|transaction| transaction.kind == kind).count() as u64
        };
        assert_eq!(seen(Kind::Purchase), sent(Deed::Purchase));
        assert_eq!(seen(Kind::Refund), sent(Deed::Refund));
        assert_eq!(seen(Kind::Void), sent(Deed::Void));
        assert_eq!(seen(Kind::Reversal), sent(Deed::Reversal));
        assert_eq!(counts.repeats, sent(Deed::Repeat));
        assert!(report.deeds.iter().filter(|number| **number > 0).count() == 5);
        assert_eq!(report.codes.get("00"), Some(&report.answered));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_is_noticed() {
    for (rule, faults, said) in [
        (
            "processing=00 times=1: decline 51",
            1,
            "DE39 of its answer is 51, not 00",
        ),
        ("processing=20 times=2: decline 61", 2, "refund with STAN"),
        ("times=1: wrong 37", 1, "DE37 of its answer"),
        ("processing=00 times=1: wrong 4", 1, "DE4 of its answer"),
        ("processing=00 times=1: partial 1", 1, "DE4 of its answer"),
        ("times=1: garbage", 2, "cannot be read"),
        ("times=1: twice", 1, "an answer"),
        ("times=1: drop", 1, "was never answered"),
        ("times=1: wrong 11", 2, "another STAN"),
        ("times=1: wrong 41", 2, "never answered"),
        ("mti=0201 times=1: extra 44=X", 0, ""),
    ] {
        let mut issuer = IssuerConfig::new(Spec::iso87_ascii(), Framing::LEN2);
        issuer.rules = vec![rule.parse().expect("a rule")];
        let issuer = Issuer::start(issuer).await.expect("a free port");
        let mut config = config(&issuer, Spec::iso87_ascii(), Framing::LEN2);
        // Voids and repeats of what went wrong would be wrong as well.
        config.mix = "purchase=50,refund=50".parse().expect("a mix");
        config.patience = Duration::from_millis(1_500);
        let report = run(config).await;
        assert_eq!(report.unexpected, faults, "{rule}: {report}");
        assert_eq!(report.is_right(), faults == 0, "{rule}");
        let all = report.wrong.join("\n");
        assert!(all.contains(said), "{rule}: {all}");
        assert!(!all.contains("4761739001010119"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_must_get_the_same_answer() {
    let mut issuer = IssuerConfig::new(Spec::iso87_ascii(), Framing::LEN2);
    issuer.rules = vec!["mti=0201 times=1: extra 44=X".parse().expect("a rule")];
    let issuer = Issuer::start(issuer).await.expect("a free port");
    let report = run(config(&issuer, Spec::iso87_ascii(), Framing::LEN2)).await;
    assert_eq!(report.unexpected, 1, "{report}");
    assert!(
        report.wrong[0].contains("not the one that the first got"),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_may_be_allowed() {
    let mut issuer = IssuerConfig::new(Spec::iso87_ascii(), Framing::LEN2);
    issuer.rules = vec!["times=40: decline 96".parse().expect("a rule")];
    let issuer = Issuer::start(issuer).await.expect("a free port");
    let mut config = config(&issuer, Spec::iso87_ascii(), Framing::LEN2);
    config.allowed = vec![*b"96"];
    let report = run(config).await;
    assert!(report.is_right(), "{report}");
    assert_eq!(report.allowed, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_counts_from_the_time_that_was_meant() {
    let mut issuer = IssuerConfig::new(Spec::iso87_ascii(), Framing::LEN2);
    issuer.rules = vec!["times=1: delay 100ms".parse().expect("a rule")];
    let issuer = Issuer::start(issuer).await.expect("a free port");
    let mut config = config(&issuer, Spec::iso87_ascii(), Framing::LEN2);
    config.rate = Some(200.0);
    config.connections = 1;
    config.window = 1;
    config.warm_up = Duration::ZERO;
    config.duration = Duration::from_millis(500);
    let report = run(config).await;
    assert!(report.is_right(), "{report}");
    // What was due while the only lane waited is sent late, and its wait counts: a tenth of all or more, not one message.
    assert!(report.latency_us(1.0) >= 100_000.0, "{report}");
    assert!(report.latency_us(0.95) >= 40_000.0, "{report}");
    assert!(report.sent + report.not_sent <= 100, "{report}");
    assert!(report.sent > 25, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_told() {
    let mut issuer = IssuerConfig::new(Spec::iso87_ascii(), Framing::LEN2);
    issuer.rules = vec!["times=1: close".parse().expect("a rule")];
    let issuer = Issuer::start(issuer).await.expect("a free port");
    let mut config = config(&issuer, Spec::iso87_ascii(), Framing::LEN2);
    config.patience = Duration::from_millis(100);
    let report = run(config.clone()).await;
    assert_eq!(report.broken.len(), 1, "{report}");
    assert!(!report.is_right());
    issuer.close_listener().await;
    match Load::start(config.clone()) {
        Err(LoadError::Connect { open: 0, .. }) => {}
        other => panic!("{other:?}"),
    }
    config.window = 0;
    assert!(matches!(Load::start(config), Err(LoadError::Config(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_issuer_approves_and_keeps_nothing() {
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        let mut plain = IssuerConfig::new(spec, Framing::LEN2);
        plain.plain = true;
        let issuer = Issuer::start(plain.clone()).await.expect("a free port");
        let mut config = config(&issuer, spec, Framing::LEN2);
        // Not repeats: they get an approval code of their own.
        config.mix = "purchase=40,refund=30,void=10,reversal=10"
            .parse()
            .expect("a mix");
        let report = run(config).await;
        assert!(report.is_right(), "{report}");
        let books = issuer.stop().await;
        assert_eq!(books.counts().approved, report.sent);
        assert!(books.transactions().is_empty() && books.seen().is_empty());
        plain.rules = vec!["times=1: close".parse().expect("a rule")];
        assert!(Issuer::start(plain).await.is_err());
    }
}
