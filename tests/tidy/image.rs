//! The image: what its list, its Dockerfile and its build without Docker say must be the same.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::{read, root};

/// The value of `key = "…"` in the workspace's manifest.
fn workspace(key: &str) -> String {
    let manifest = read("Cargo.toml");
    let value = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
    value.expect("the workspace says so").trim_end_matches('"').to_owned()
}

/// Source, destination and mode of each line of the list.
fn list() -> Vec<[String; 3]> {
    let text = read("image/files");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    words.map(|words| words.try_into().expect("image/files: SOURCE DESTINATION MODE")).collect()
}

#[test]
fn the_dockerfile_builds_on_any_architecture_with_the_workspaces_versions() {
    let dockerfile = read("image/Dockerfile");
    for name in ["amd64", "x86_64", "arm64", "aarch64", "--platform"] {
        for file in ["image/Dockerfile", "image/rootfs", "image/build", "image/files"] {
            assert!(!read(file).contains(name), "{file} names {name}");
        }
    }
    let compiler = format!("\nFROM rust:{}-", workspace("rust-version"));
    assert!(dockerfile.contains(&compiler), "the Dockerfile's compiler is not the workspace's");
    let version = workspace("version");
    for line in [format!("portolan/portolan:{version} .\n"), format!("image.version={version} \\\n")] {
        assert!(dockerfile.contains(&line), "the Dockerfile lacks {line}");
    }
    // Nothing gets in but what the list names.
    let instructions =
        |word| dockerfile.lines().filter(move |line| line.starts_with(word)).collect::<Vec<_>>();
    assert_eq!(instructions("RUN "), ["RUN /portolan/image/rootfs /image"]);
    assert_eq!(instructions("COPY "), ["COPY . /portolan", "COPY --from=build /image /"]);
    assert_eq!(instructions("FROM ").last(), Some(&"FROM scratch"));
}

#[test]
fn the_image_made_without_docker_is_configured_as_the_dockerfiles() {
    let (dockerfile, build) = (read("image/Dockerfile"), read("image/build"));
    for (one, other) in [
        ("USER 65532:65532", "--user 65532:65532"),
        ("ENTRYPOINT [\"/bin/portolan\"]", "--entrypoint /bin/portolan "),
    ] {
        assert!(dockerfile.contains(one) && build.contains(other), "{one}: {other}");
    }
    let labels = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once("org.opencontainers.image."));
        lines.map(|(_, label)| label.trim_end_matches(" \\").to_owned()).collect()
    };
    assert_eq!(labels(&dockerfile), labels(&build.replace("\"$version\"", &workspace("version"))));
    assert_eq!(labels(&dockerfile).len(), 4);
}

#[test]
fn the_list_names_what_is_there() {
    let names: Vec<_> = list().into_iter().map(|[_, destination, _]| destination).collect();
    let programs = read("standalone/src/main.rs");
    for [source, destination, mode] in list() {
        assert!(destination.starts_with('/'), "{destination} is not absolute");
        if mode == "link" {
            let parent = destination.rsplit_once('/').map(|(parent, _)| parent).unwrap_or_default();
            assert!(names.contains(&format!("{parent}/{source}")), "{destination} leads nowhere");
            let called = destination.rsplit('/').next().unwrap_or_default();
            assert!(
                programs.contains(&format!("Some(\"{called}\")")),
                "portolan does not answer to {called}"
            );
        } else if !source.starts_with("$BIN/") {
            assert!(root().join(&source).is_file(), "{source} does not exist");
        }
    }
}

#[test]
fn the_same_files_give_the_same_archive() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let archive = |name: &str, content: &str, age: u64| {
        let source = folder.path().join(name);
        std::fs::create_dir(&source).expect("a folder can be made");
        for file in ["b", "a"] {
            let file = std::fs::File::create(source.join(file)).expect("a file can be made");
            std::io::Write::write_all(&mut &file, content.as_bytes()).expect("a file can be written");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(age)).expect("it can be dated");
        }
        make(&source, &folder.path().join(format!("{name}.tar")))
    };
    let (first, again, other) =
        (archive("x", "1", 1_000_000), archive("y", "1", 2_000_000), archive("z", "2", 1_000_000));
    assert!(first == again, "two archives of the same files differ");
    assert!(first != other, "the files do not matter");
}

fn make(source: &Path, out: &Path) -> Vec<u8> {
    let status = Command::new(root().join("image/archive"))
        .args(["portolan.test/same:1".as_ref(), out.as_os_str(), "--user=1:1".as_ref(), source.as_os_str()])
        .status();
    assert!(status.expect("Python runs").success(), "image/archive failed");
    std::fs::read(out).expect("the archive is there")
}
