use proptest::prelude::*;

use super::*;

struct Others(Vec<Wish>);

impl PathClaims for Others {
    fn claimants(&self, key: &str) -> Vec<Wish> {
        let claims = |wish: &&Wish| wish.path.as_ref().is_some_and(|path| path.key() == key);
        self.0.iter().filter(claims).cloned().collect()
    }
}

fn wishes() -> impl Strategy<Value = Vec<(Wish, bool)>> {
    let names = ["a.md", "A.md", "a (2).md", "a (2) (2).md", "a (3).md", "b", "b (2)", "sub/a.md"];
    let path = || {
        let name = (0..names.len()).prop_map(move |at| VaultPath::new(names[at]).unwrap());
        proptest::option::weighted(0.9, name)
    };
    let wish = (path(), path(), any::<bool>());
    proptest::collection::vec(wish, 1..8).prop_map(|all| {
        let numbered = all.into_iter().enumerate();
        let wish = |(number, (path, current, touched))| {
            let id = EntityId::new(format!("e{number}")).unwrap();
            (Wish { id, current, path }, touched)
        };
        numbered.map(wish).collect()
    })
}

proptest! {
    #[test]
    fn every_device_gives_the_same_places_and_no_place_twice(all in wishes()) {
        let everybody: Vec<Wish> = all.iter().map(|(wish, _)| wish.clone()).collect();
        let places = place(&everybody, &Others(Vec::new()));
        let keys: BTreeSet<String> = places.values().map(VaultPath::key).collect();
        prop_assert_eq!(keys.len(), places.len());
        let mut backwards = everybody.clone();
        backwards.reverse();
        prop_assert_eq!(&place(&backwards, &Others(Vec::new())), &places);
        // A device that touches only some of them, and whose files lie elsewhere.
        let touched: Vec<Wish> = all.iter().filter(|(_, touched)| *touched)
            .map(|(wish, _)| Wish { current: None, ..wish.clone() }).collect();
        let others: Vec<Wish> = all.into_iter().filter(|(_, touched)| !touched)
            .map(|(wish, _)| wish).collect();
        let some = place(&touched, &Others([others, touched.clone()].concat()));
        for (id, path) in &some {
            prop_assert_eq!(places.get(id), Some(path));
        }
        for wish in touched.iter().filter(|wish| wish.path.is_some()) {
            prop_assert!(some.contains_key(&wish.id));
        }
    }
}

#[test]
fn the_lowest_id_keeps_the_path() {
    let wish = |id: &str, path: &str| Wish {
        id: EntityId::new(id).unwrap(),
        current: None,
        path: VaultPath::new(path).ok(),
    };
    let all = [wish("c", "x.md"), wish("a", "X.md"), wish("b", "x (2).md"), wish("d", "x.md")];
    let places = place(&all, &Others(Vec::new()));
    let shown: Vec<String> = places.iter().map(|(id, path)| format!("{id} {path}")).collect();
    assert_eq!(shown, ["a X.md", "b x (2).md", "c x (3).md", "d x (4).md"]);
}

/// A remote could have every turn run for ever.
#[test]
fn a_path_without_room_for_a_number_is_given_up() {
    let path = VaultPath::new(&format!("x.{}", "y".repeat(253))).unwrap();
    let wish =
        |id: &str| Wish { id: EntityId::new(id).unwrap(), current: None, path: Some(path.clone()) };
    assert_eq!(place(&[wish("a"), wish("b")], &Others(Vec::new())).len(), 2);
}
