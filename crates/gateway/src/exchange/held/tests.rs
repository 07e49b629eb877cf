//! What is kept of tasks, and what makes room for what.

use super::*;

const CREATED: &str = r#"{"task":{"taskId":"t","status":"working","ttl":null}}"#;

fn caller(name: u8) -> Caller {
    Caller::Key {
        id: format!("{name}").into(),
        name: "".into(),
    }
}

fn place(number: usize) -> Place {
    let mut place = Place::default();
    place[..8].copy_from_slice(&number.to_be_bytes());
    place
}

fn entry(number: usize, caller: &Caller) -> Entry {
    let whose = (caller.clone(), Box::from("a"));
    let held = Held::new(place(number), "shown".to_owned(), whose, Some(CREATED));
    let held = Arc::new(held);
    let orders = mpsc::channel(ORDERS_MAX).0;
    Entry { held, orders }
}

fn begin(holding: &Holding, number: usize, caller: &Caller) -> Result<Arc<Held>, Refusal> {
    let entry = entry(number, caller);
    let held = entry.held.clone();
    holding.admit(place(number), entry).map(|()| held)
}

fn end(holding: &Holding, held: &Held, bytes: usize) {
    let result = Outcome::Result(format!("\"{}\"", "x".repeat(bytes - 2)));
    held.end(holding.room(held, result));
}

fn knows(holding: &Holding, number: usize) -> bool {
    let id = HeldId {
        owner: holding.own,
        place: place(number),
    };
    holding.here(&id).is_some()
}

fn holding() -> Holding {
    Holding::new(Incarnation([1; 8]))
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_so_many_tasks_under_way_and_others_are_not_held_up() {
    let (holding, one) = (holding(), caller(1));
    let first = begin(&holding, 0, &one).unwrap();
    for number in 1..HELD_OF_CALLER_MAX {
        begin(&holding, number, &one).unwrap();
    }
    let refused = begin(&holding, 1000, &one).unwrap_err();
    assert!(matches!(refused, Refusal::Busy(_)), "{refused}");
    begin(&holding, 1001, &caller(2)).unwrap();
    end(&holding, &first, 10);
    begin(&holding, 1002, &one).unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_tasks_together_have_a_limit_and_what_is_over_makes_room() {
    let holding = holding();
    let number = |at: usize| caller(u8::try_from(at / HELD_OF_CALLER_MAX).unwrap());
    for at in 0..HELD_MAX {
        holding.tasks().insert(place(at), entry(at, &number(at)));
    }
    let other = caller(255);
    let full = begin(&holding, HELD_MAX, &other).unwrap_err();
    assert!(matches!(full, Refusal::Busy(_)), "{full}");
    for at in [7, 3] {
        let id = HeldId {
            owner: holding.own,
            place: place(at),
        };
        end(&holding, &holding.here(&id).unwrap(), 10);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    begin(&holding, HELD_MAX, &other).unwrap();
    assert!(!knows(&holding, 7) && knows(&holding, 3) && knows(&holding, 0));
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_so_many_tasks_that_are_over() {
    let (holding, one) = (holding(), caller(1));
    for at in 0..=KEPT_OF_CALLER_MAX {
        let held = begin(&holding, at, &one).unwrap();
        end(&holding, &held, 10);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(!knows(&holding, 0));
    assert!(knows(&holding, 1) && knows(&holding, KEPT_OF_CALLER_MAX));
}

#[tokio::test(start_paused = true)]
async fn results_have_limits_each_and_together() {
    let (holding, one, two) = (holding(), caller(1), caller(2));
    let long = begin(&holding, 0, &one).unwrap();
    end(&holding, &long, RESULT_BYTES_MAX + 1);
    let state = long.state().unwrap();
    assert!(
        state.contains("\"failed\"") && state.contains("-32603"),
        "{state}"
    );
    let others = begin(&holding, 1, &two).unwrap();
    end(&holding, &others, RESULT_BYTES_MAX);
    let fit = KEPT_BYTES_MAX / RESULT_BYTES_MAX;
    for number in 2..=fit + 1 {
        tokio::time::advance(Duration::from_millis(1)).await;
        let held = begin(&holding, number, &one).unwrap();
        end(&holding, &held, RESULT_BYTES_MAX);
    }
    assert!(knows(&holding, 1), "the caller's own make room first");
    assert!(!knows(&holding, 2) && knows(&holding, fit + 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_kept_for_as_long_as_it_says() {
    let (holding, one) = (holding(), caller(1));
    let held = begin(&holding, 0, &one).unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    end(&holding, &held, 10);
    let state = held.state().unwrap();
    assert!(state.contains("\"ttlMs\":605000"), "{state}");
    tokio::time::advance(Duration::from_secs(599)).await;
    holding.sweep();
    assert!(knows(&holding, 0));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!knows(&holding, 0));
    holding.sweep();
    assert!(holding.tasks().is_empty());
}
