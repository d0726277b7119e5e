//! The definitions in the chart are those of the types.

use std::path::Path;

use portolan_crds::definitions;

#[test]
fn the_charts_definitions_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/portolan/files/crds");
    let mut stale = Vec::new();
    let mut names = Vec::new();
    for definition in definitions() {
        let name = format!("{}.yaml", definition.spec.names.plural);
        let yaml = serde_saphyr::to_string(&definition).expect("a definition is YAML");
        let text = format!("# Made from crds/ by PORTOLAN_WRITE=1 cargo test -p portolan-crds\n{yaml}");
        let path = folder.join(&name);
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            if std::env::var_os("PORTOLAN_WRITE").is_some() {
                std::fs::write(&path, text).expect("the file can be written");
            } else {
                stale.push(name.clone());
            }
        }
        names.push(name);
    }
    assert!(stale.is_empty(), "{stale:?} differ: PORTOLAN_WRITE=1 cargo test -p portolan-crds writes them");
    let there = std::fs::read_dir(&folder).expect("the folder can be listed");
    for file in there {
        let file = file.expect("the folder can be listed").file_name().into_string().expect("a name");
        assert!(names.contains(&file), "{file} is the definition of no type");
    }
}
