//! The commands of `docs/`, as they stand there.
//!
//! A comment before a code block says that it is run: `<!-- run: CASE -->`, with `, back` for the way back of a section,
//! `, on the control plane` for a machine other than the reader's, and `, until it succeeds` for what takes a moment.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, repository, wait_until};

/// A cluster without Services and names, as `tests/cluster` makes it, gets them.
pub(crate) fn install(cluster: &Cluster) -> Result<()> {
    let reader = Reader::new(cluster, "cluster")?;
    let sections = sections("docs/install.md", "new")?;
    ensure!(sections.iter().flatten().count() > 4, "hardly any command");
    sections.iter().flatten().try_for_each(|block| reader.follow(block))
}

/// A cluster with upstream's parts, as kind makes it, is moved; each step is also taken back and taken again.
pub(crate) fn migrate(cluster: &Cluster) -> Result<()> {
    let reader = Reader::new(cluster, "kind")?;
    let sections = sections("docs/migrate.md", "beside")?;
    for section in &sections {
        let (back, there): (Vec<_>, Vec<_>) = section.iter().partition(|block| block.says("back"));
        there.iter().try_for_each(|block| reader.follow(block))?;
        if !back.is_empty() {
            back.iter().chain(&there).try_for_each(|block| reader.follow(block))?;
        }
    }
    let taken_back = sections.iter().filter(|section| section.iter().any(|block| block.says("back"))).count();
    ensure!(taken_back > 3, "hardly any way back");
    for node in ["node-1", "node-2"] {
        let rules = cluster.enter(node, &["nft", "list", "ruleset"])?;
        ensure!(rules.contains("table ip portolan"), "{node} has no rules of ours");
        let left =
            rules.lines().find(|line| line.contains("KUBE-SVC") || line.contains("table ip kube-proxy"));
        ensure!(left.is_none(), "{node} still has rules of kube-proxy: {left:?}");
    }
    Ok(())
}

/// What a mark may say.
const MARKS: [&str; 5] = ["new", "beside", "back", "on the control plane", "until it succeeds"];

/// A code block that is run.
struct Block {
    marks: Vec<String>,
    script: String,
}

impl Block {
    fn says(&self, mark: &str) -> bool {
        self.marks.iter().any(|one| one == mark)
    }
}

/// The blocks of a case, by the document's sections.
fn sections(document: &str, case: &str) -> Result<Vec<Vec<Block>>> {
    let text = fs::read_to_string(repository()?.join(document))?;
    text.split("\n## ").map(|section| blocks(section, case)).collect()
}

fn blocks(section: &str, case: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for marked in section.split("<!-- run: ").skip(1) {
        let (marks, rest) = marked.split_once(" -->\n```sh\n").context("a mark without a block")?;
        let (script, _) = rest.split_once("\n```").context("a block without an end")?;
        let marks: Vec<_> = marks.split(", ").map(str::to_owned).collect();
        ensure!(marks.iter().all(|mark| MARKS.contains(&mark.as_str())), "unknown mark: {marks:?}");
        if marks[0] == case {
            blocks.push(Block { marks, script: script.to_owned() });
        }
    }
    Ok(blocks)
}

/// Who follows a document: at the repository's root, with kubectl, helm and kind for the cluster, and nothing else about it.
struct Reader {
    programs: PathBuf,
}

impl Drop for Reader {
    fn drop(&mut self) {
        // What is left of it hurts nobody.
        let _ = fs::remove_dir_all(&self.programs);
    }
}

impl Reader {
    fn new(cluster: &Cluster, harness: &str) -> Result<Self> {
        let folder = cluster.variable("RUNDIR")?;
        let programs = Path::new(folder).join("reader");
        fs::create_dir_all(&programs)?;
        let scripts = repository()?.join("tests").join(harness).display().to_string();
        let write = |name: &str, command: &str| -> Result<()> {
            let file = programs.join(name);
            fs::write(&file, format!("#!/bin/bash\n{command}\n"))?;
            Ok(fs::set_permissions(file, Permissions::from_mode(0o755))?)
        };
        for name in ["kubectl", "helm"] {
            write(name, &format!("exec {scripts}/{name} --dir {folder} \"$@\""))?;
        }
        // `kind load image-archive FILE` on whatever the nodes are.
        write("kind", &format!("exec {scripts}/load --dir {folder} \"${{@:3}}\""))?;
        let reader = Self { programs };
        reader.load_busybox(cluster)?;
        Ok(reader)
    }

    /// The image that the documents use, since no registry can be reached.
    fn load_busybox(&self, cluster: &Cluster) -> Result<()> {
        let root = self.programs.join("busybox");
        fs::create_dir_all(root.join("bin"))?;
        fs::copy("/bin/busybox", root.join("bin/busybox"))?;
        for name in ["sh", "nc", "nslookup", "sleep", "chroot"] {
            symlink("busybox", root.join("bin").join(name))?;
        }
        let archive = self.programs.join("busybox.tar");
        let status = Command::new(repository()?.join("image/archive"))
            .arg("busybox:1.37")
            .args([&archive, &root])
            .args(["--entrypoint", "/bin/sh"])
            .status()?;
        ensure!(status.success(), "image/archive failed");
        cluster.run("load", &[&archive.display().to_string()]).map(|_| ())
    }

    fn follow(&self, block: &Block) -> Result<()> {
        let began = Instant::now();
        let first = block.script.lines().next().unwrap_or_default();
        let on_node;
        let script = if block.says("on the control plane") {
            on_node = on_the_control_plane(&block.script);
            &on_node
        } else {
            &block.script
        };
        let limit = if block.says("until it succeeds") { Duration::from_secs(60) } else { Duration::ZERO };
        wait_until(limit, || self.run(script)).with_context(|| format!("$ {}", block.script))?;
        println!("    {:5.1} s  $ {first}", began.elapsed().as_secs_f64());
        Ok(())
    }

    fn run(&self, script: &str) -> Result<()> {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(repository()?)
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .output()?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{said}{complained}");
        Ok(())
    }
}

/// A script that runs another one as root of the control plane's node.
fn on_the_control_plane(script: &str) -> String {
    let quoted = script.replace('\'', r"'\''");
    format!(
        "node=$(kubectl get nodes -l node-role.kubernetes.io/control-plane -o name)\n\
         kubectl debug $node --image=busybox:1.37 --profile=sysadmin --attach --quiet -- chroot /host sh -ec '{quoted}'\n\
         kubectl delete pod -l app.kubernetes.io/managed-by=kubectl-debug"
    )
}
