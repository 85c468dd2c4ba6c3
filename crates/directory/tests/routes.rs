//! Where mail goes.

#![allow(clippy::unwrap_used)]

mod places;

use async_trait::async_trait;
use culver_directory::builtin::{Builtin, NewUser, Problem, What};
use culver_directory::{
    Account, Action, Directory, Layout, Login, MailLocation, Outage, Resolved, Route, Source, Switch, Target,
};
use places::{Place, PostgreSql};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

struct House {
    builtin: Arc<Builtin>,
    directory: Directory,
    _place: Place,
}

/// example.com with example.net beside it; anna, bob and carl live there.
fn house(place: Place) -> House {
    let builtin = Arc::new(place.open());
    builtin.add_domain("example.com").unwrap();
    builtin.add_domain_alias("example.net", "example.com").unwrap();
    for name in ["anna", "bob", "carl"] {
        builtin.add_user(&format!("{name}@example.com"), &NewUser::default()).unwrap();
    }
    let directory = Directory::new(vec![builtin.clone()]);
    House { builtin, directory, _place: place }
}

impl House {
    fn to(&self, address: &str, targets: &[&str]) {
        let targets = targets.iter().map(|t| (*t).to_owned()).collect();
        self.builtin.add_route(address, &Action::Deliver(targets)).unwrap();
    }

    /// `anna`, `anna+Lists` or `->x@y`, each that gets the message; or what else becomes of it.
    async fn of(&self, address: &str) -> String {
        told(self.directory.resolve(address).await.unwrap())
    }
}

fn told(resolved: Resolved) -> String {
    match resolved {
        Resolved::Targets(targets) => {
            let word = |target: Target| match target {
                Target::Mailbox { account, detail } => {
                    let local = account.name.strip_suffix("@example.com").unwrap_or(&account.name).to_owned();
                    detail.map_or(local.clone(), |detail| format!("{local}+{detail}"))
                }
                Target::Forward { address } => format!("->{address}"),
            };
            targets.into_iter().map(word).collect::<Vec<_>>().join(" ")
        }
        Resolved::Reject { text } => format!("reject: {text}"),
        Resolved::Disabled { reason, since } => format!("disabled {}: {reason}", since.is_some()),
        Resolved::Unknown => "unknown".to_owned(),
    }
}

/// What is the same in a file and on a server.
async fn everything(place: impl Fn() -> Place) {
    let house = || house(place());
    the_order_of_looking(house()).await;
    delimiters_are_a_setting(house()).await;
    several_targets_forwards_and_copies(house()).await;
    refusals(house()).await;
    what_leads_nowhere(house()).await;
    verbs_refuse_what_cannot_be(house());
    an_outage_is_never_an_unknown_address(house()).await;
}

#[tokio::test]
async fn in_a_file() {
    everything(Place::file).await;
}

#[tokio::test]
async fn on_postgresql() {
    let Some(server) = PostgreSql::start() else { return };
    everything(|| server.place()).await;
}

async fn the_order_of_looking(house: House) {
    house.to("info@example.com", &["anna@example.com"]);
    house.to("anna+work@example.com", &["bob@example.com"]);
    house.to("carl@example.net", &["bob@example.com"]);
    let table = [
        ("anna@example.com", "anna"),
        ("Anna@Example.NET", "anna"),
        ("anna+Lists@example.com", "anna+Lists"),
        ("anna+a+b@example.net", "anna+a+b"),
        ("anna+@example.com", "anna"),
        ("ANNA+Work@example.com", "bob"),
        ("info@example.net", "anna"),
        ("info+x@example.com", "anna+x"),
        // A route comes before the account, and was given in the secondary domain.
        ("carl@example.com", "bob"),
        ("dora@example.com", "unknown"),
        ("+x@example.com", "unknown"),
        ("anna@example.org", "unknown"),
        ("anna#example.com", "unknown"),
        ("anna", "unknown"),
        ("", "unknown"),
        ("a b@example.com", "unknown"),
    ];
    for (address, expected) in table {
        assert_eq!(house.of(address).await, expected, "{address}");
    }
    house.to("*@example.com", &["carl@example.com", "anna@example.com"]);
    assert_eq!(house.of("dora@example.net").await, "bob anna");
    assert_eq!(house.of("anna+x@example.com").await, "anna+x");
    // The detail belongs to an address that somebody has.
    assert_eq!(house.of("dora+x@example.net").await, "bob anna");
    assert_eq!(house.of("dora@example.org").await, "unknown");
}

async fn delimiters_are_a_setting(house: House) {
    let other = Directory::new(vec![house.builtin.clone()]).with_delimiters("-_");
    assert_eq!(told(other.resolve("anna-x@example.com").await.unwrap()), "anna+x");
    assert_eq!(told(other.resolve("anna_x-y@example.com").await.unwrap()), "anna+x-y");
    assert_eq!(told(other.resolve("anna+x@example.com").await.unwrap()), "unknown");
    let none = Directory::new(vec![house.builtin.clone()]).with_delimiters("");
    assert_eq!(told(none.resolve("anna+x@example.com").await.unwrap()), "unknown");
}

async fn several_targets_forwards_and_copies(house: House) {
    house.to(
        "all@example.com",
        &["team@example.com", "anna@example.net", "Boss@Example.org", "boss@example.org"],
    );
    house.to("team@example.com", &["bob@example.com", "anna@example.com", "carl+Team@example.com"]);
    assert_eq!(house.of("all@example.com").await, "bob anna carl+Team ->Boss@example.org");
    // A forward that keeps a copy, and its detail.
    house.to("anna@example.com", &["Anna@example.com", "anna@example.org"]);
    assert_eq!(house.of("anna+x@example.com").await, "anna+x ->anna@example.org");
    assert_eq!(house.of("all@example.com").await, "bob anna ->anna@example.org carl+Team ->Boss@example.org");
    // Two accounts that forward to each other.
    house.to("bob@example.com", &["carl@example.com"]);
    house.to("carl@example.com", &["bob@example.com"]);
    assert_eq!(house.of("bob@example.com").await, "bob");
    assert_eq!(house.of("carl@example.com").await, "carl");
}

async fn refusals(house: House) {
    let builtin = &house.builtin;
    builtin.add_route("old@example.com", &Action::Reject("Ask at the desk".to_owned())).unwrap();
    assert_eq!(house.of("old@example.net").await, "reject: Ask at the desk");
    house.to("info@example.com", &["anna@example.com", "bob@example.com", "old@example.com"]);
    assert_eq!(house.of("info@example.com").await, "anna bob");
    builtin.set_switch("anna@example.com", What::Receive, Some("moved away")).unwrap();
    assert_eq!(house.of("anna+x@example.com").await, "disabled true: moved away");
    assert_eq!(house.of("info@example.com").await, "bob");
    builtin.set_switch("bob@example.com", What::Receive, Some("")).unwrap();
    assert_eq!(house.of("info@example.com").await, "disabled true: moved away");
    builtin.set_route_switch("info@example.net", Some("holidays")).unwrap();
    assert_eq!(house.of("info@example.com").await, "disabled true: holidays");
    builtin.set_switch("anna@example.com", What::Receive, None).unwrap();
    builtin.set_route_switch("info@example.com", None).unwrap();
    assert_eq!(house.of("info@example.com").await, "anna");
    let way = house.directory.way("info@example.com").await.unwrap();
    assert_eq!(way.refusing, ["bob@example.com", "old@example.com"]);
    assert_eq!(way.routes, ["info@example.com", "old@example.com"]);
}

async fn what_leads_nowhere(house: House) {
    house.to("a@example.com", &["b@example.com"]);
    house.to("b@example.com", &["a@example.net", "gone@example.com"]);
    assert_eq!(house.of("a@example.com").await, "unknown");
    let way = house.directory.way("a@example.com").await.unwrap();
    assert_eq!(
        (way.circles, way.missing),
        (vec!["a@example.net".to_owned()], vec!["gone@example.com".to_owned()])
    );
    house.to("*@example.com", &["nobody@example.com"]);
    assert_eq!(house.of("x@example.com").await, "unknown");
    // A chain as long as it may be, and one more.
    house.to("c0@example.com", &["anna@example.com"]);
    for n in 1..=10 {
        house.to(&format!("c{n}@example.com"), &[&format!("c{}@example.com", n - 1)]);
    }
    assert_eq!(house.of("c9@example.com").await, "anna");
    assert_eq!(house.of("c10@example.com").await, "unknown");
    // Branches: 11 routes with 100 targets each.
    for n in 0..11 {
        let many: Vec<_> = (0..100).map(|m| format!("m{n}.{m}@example.org")).collect();
        house.to(&format!("many{n}@example.com"), &many.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let all: Vec<_> = (0..11).map(|n| format!("many{n}@example.com")).collect();
    house.to("many@example.com", &all.iter().map(String::as_str).collect::<Vec<_>>());
    let why = house.directory.resolve("many@example.com").await.unwrap_err();
    assert!(why.to_string().contains("more than 1000 targets"), "{why}");
}

fn verbs_refuse_what_cannot_be(house: House) {
    let builtin = &house.builtin;
    let to = |targets: &[&str]| Action::Deliver(targets.iter().map(|t| (*t).to_owned()).collect());
    let add = |address: &str, action: &Action| builtin.add_route(address, action);
    let anna = to(&["anna@example.com"]);
    assert_eq!(add("Info@Example.NET", &anna).unwrap(), "info@example.com");
    assert!(matches!(add("info@example.com", &anna), Err(Problem::RouteExists(_))));
    assert!(matches!(add("info@example.org", &anna), Err(Problem::NoDomain(_))));
    for address in ["info", "", "@", "a b@example.com", "info#example.com", "*@not a domain"] {
        assert!(matches!(add(address, &anna), Err(Problem::NotARoute(_))), "{address}");
    }
    for target in
        ["x", "", "@example.org", "*@example.org", "a..b@example.org", "a b@example.org", "a@b c", "a,b@x"]
    {
        assert!(matches!(add("x@example.com", &to(&[target])), Err(Problem::NotATarget(_))), "{target}");
    }
    for fine in ["Boss@Example.ORG", "a/b=c@example.org", "jörg@bücher.example"] {
        builtin.change_route("info@example.com", &to(&[fine])).unwrap();
    }
    assert_eq!(builtin.route_at("info@example.com").unwrap().action, to(&["jörg@xn--bcher-kva.example"]));
    assert!(matches!(add("x@example.com", &to(&[])), Err(Problem::NoTargets)));
    let many: Vec<_> = (0..101).map(|n| format!("{n}@example.org")).collect();
    assert!(matches!(add("x@example.com", &Action::Deliver(many)), Err(Problem::TooManyTargets)));
    for text in ["a\nb", "ü", &"x".repeat(401)] {
        assert!(matches!(add("x@example.com", &Action::Reject(text.to_owned())), Err(Problem::NotAText)));
    }
    assert!(matches!(builtin.set_route_switch("info@example.com", Some("a\r\nb")), Err(Problem::NotAText)));
    assert!(matches!(builtin.change_route("y@example.com", &anna), Err(Problem::NoRoute(_))));
    assert!(
        matches!(builtin.remove_route("*@example.com"), Err(Problem::NoRoute(name)) if name == "*@example.com")
    );

    builtin.change_route("info@example.com", &to(&["Anna@example.net"])).unwrap();
    let problem = builtin.remove_user("anna@example.com").err().unwrap();
    assert!(
        matches!(&problem, Problem::Routed(name, routes) if name == "anna@example.com" && routes == &["info@example.com"])
    );
    add("@example.com", &anna).unwrap();
    let all = builtin.routes().unwrap();
    assert_eq!(
        all.iter().map(|r| r.address.as_str()).collect::<Vec<_>>(),
        ["*@example.com", "info@example.com"]
    );
    builtin.remove_route("info@example.com").unwrap();
    builtin.remove_route("*@example.net").unwrap();
    for name in ["anna", "bob", "carl"] {
        builtin.remove_user(&format!("{name}@example.com")).unwrap();
    }
    add("x@example.com", &to(&["x@example.org"])).unwrap();
    assert!(matches!(builtin.remove_domain("example.com"), Err(Problem::DomainHasRoutes(_, 1))));
    builtin.remove_route("x@example.com").unwrap();
    builtin.remove_domain("example.com").unwrap();
}

/// A source that is away.
struct Away;

#[async_trait]
impl Source for Away {
    fn name(&self) -> &str {
        "away"
    }

    async fn find(&self, _: &Login) -> Result<Option<Arc<Account>>, Outage> {
        Err(Outage::new("away", "no answer"))
    }
}

async fn an_outage_is_never_an_unknown_address(house: House) {
    house.to("info@example.com", &["anna@example.com"]);
    house.to("out@example.com", &["x@example.org"]);
    let directory = Directory::new(vec![house.builtin.clone(), Arc::new(Away)]);
    assert_eq!(told(directory.resolve("anna@example.com").await.unwrap()), "anna");
    assert_eq!(told(directory.resolve("info@example.com").await.unwrap()), "anna");
    assert!(directory.resolve("dora@example.com").await.is_err());
    assert!(directory.resolve("dora@example.org").await.is_err());
    // Whose is example.org?
    assert!(directory.resolve("out@example.com").await.is_err());
    assert!(directory.has_domain("example.net").await.unwrap());
    assert!(directory.has_domain("example.org").await.is_err());
    assert!(!house.directory.has_domain("example.org").await.unwrap());
}

/// Six addresses: which are accounts, and where their routes lead.
#[derive(Clone, Debug)]
struct Graph {
    accounts: Vec<bool>,
    routes: Vec<Option<Vec<usize>>>,
}

impl Graph {
    fn node(login: &Login) -> Option<usize> {
        login.local().strip_prefix('n')?.parse().ok()
    }

    /// Whom mail for a node reaches, by the rule as it is written: the route, unless it was followed on this way.
    fn reached(&self, node: usize, above: &[usize], found: &mut BTreeSet<usize>) {
        match &self.routes[node] {
            Some(targets) if !above.contains(&node) => {
                let above = [above, &[node]].concat();
                for target in targets {
                    self.reached(*target, &above, found);
                }
            }
            _ if self.accounts[node] => {
                found.insert(node);
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Source for Graph {
    fn name(&self) -> &str {
        "graph"
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        let known = Self::node(login).is_some_and(|node| self.accounts.get(node) == Some(&true));
        let mail = MailLocation { root: "/m".into(), control: None, index: None, layout: Layout::Fs };
        Ok(known.then(|| Arc::new(Account::new(login.as_str(), mail))))
    }

    async fn route(&self, login: &Login) -> Result<Option<Route>, Outage> {
        let targets = Self::node(login).and_then(|node| self.routes.get(node)?.clone());
        Ok(targets.map(|targets| Route {
            address: login.to_string(),
            action: Action::Deliver(targets.iter().map(|n| format!("n{n}@example.com")).collect()),
            enabled: Switch::On,
        }))
    }

    async fn has_domain(&self, _: &str) -> Result<bool, Outage> {
        Ok(true)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn everybody_whom_routes_reach_gets_it_once(
        accounts in proptest::collection::vec(any::<bool>(), 6),
        routes in proptest::collection::vec(proptest::option::of(proptest::collection::vec(0..6_usize, 1..3)), 6),
    ) {
        let graph = Graph { accounts, routes };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for node in 0..6 {
            let mut expected = BTreeSet::new();
            graph.reached(node, &[], &mut expected);
            let directory = Directory::new(vec![Arc::new(graph.clone())]);
            let resolved = runtime.block_on(directory.resolve(&format!("n{node}@example.com"))).unwrap();
            let found: Vec<usize> = match resolved {
                Resolved::Targets(targets) => targets.iter().map(|target| match target {
                    Target::Mailbox { account, .. } => account.name[1..2].parse().unwrap(),
                    Target::Forward { address } => panic!("{address} is ours"),
                }).collect(),
                Resolved::Unknown => Vec::new(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), expected);
            prop_assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
        }
    }
}
