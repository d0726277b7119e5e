//! What the chart makes of its values.

use serde_json::{Value, json};

use crate::helm::{VERSIONS, cases, object, template};

fn objects(case: &str, set: &[&str]) -> Vec<Value> {
    template("4", case, set).unwrap_or_else(|error| panic!("{case} {set:?}: {error}"))
}

/// Pod templates of the workloads, with the object's name.
fn pods(objects: &[Value]) -> impl Iterator<Item = (&str, &Value)> {
    let workloads = objects.iter().filter(|object| object["spec"]["template"].is_object());
    workloads.map(|object| {
        (object["metadata"]["name"].as_str().unwrap_or_default(), &object["spec"]["template"]["spec"])
    })
}

fn args<'a>(objects: &'a [Value], kind: &str, name: &str) -> Vec<&'a str> {
    let object = object(objects, kind, name).unwrap_or_else(|| panic!("no {kind} {name}"));
    let args = object["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
    args.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Rules as `group/resource verb`, of all roles of a part.
fn grants(objects: &[Value], part: &str) -> Vec<String> {
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut grants = Vec::new();
    for kind in ["ClusterRole", "Role"] {
        let role = object(objects, kind, &format!("portolan-{part}"));
        for rule in role.and_then(|role| role["rules"].as_array()).into_iter().flatten() {
            for resource in words(&rule["resources"]) {
                grants.extend(words(&rule["verbs"]).iter().map(|verb| format!("{resource} {verb}")));
            }
        }
    }
    grants
}

#[test]
fn both_versions_of_helm_make_the_same() {
    for case in cases() {
        let of = |version: &str| {
            template(version, &case, &[]).unwrap_or_else(|error| panic!("helm {version} {case}: {error}"))
        };
        let key = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
        let [mut four, mut three] = VERSIONS.map(of);
        four.sort_by_key(key);
        three.sort_by_key(key);
        assert_eq!(four, three, "{case}");
    }
}

#[test]
fn each_part_comes_by_itself() {
    for (case, kind, name) in [
        ("controllers-only-values.yaml", "Deployment", "portolan-controllers"),
        ("dns-only-values.yaml", "Deployment", "portolan-dns"),
        ("proxy-only-values.yaml", "DaemonSet", "portolan-proxy"),
    ] {
        let objects = objects(case, &[]);
        let workloads: Vec<_> = objects
            .iter()
            .filter(|object| ["Deployment", "DaemonSet"].iter().any(|kind| object["kind"] == *kind))
            .filter(|object| object["metadata"]["name"] != "portolan-proxy-cleanup")
            .map(|object| {
                (
                    object["kind"].as_str().unwrap_or_default(),
                    object["metadata"]["name"].as_str().unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(workloads, [(kind, name)], "{case}");
        assert!(object(&objects, "ClusterRole", name).is_some(), "{case}");
    }
}

#[test]
fn beside_upstream_the_controllers_write_nothing_unless_told() {
    let writes = |objects: &[Value]| {
        grants(objects, "controllers")
            .iter()
            .any(|grant| grant.starts_with("endpoint") && grant.ends_with(" patch"))
    };
    let compares =
        |objects: &[Value]| args(objects, "Deployment", "portolan-controllers").contains(&"--compare-only");
    for (case, set, want) in [
        ("replace-values.yaml", &[][..], true),
        ("replace-values.yaml", &["controllers.compareOnly=true"], false),
        ("beside-values.yaml", &[], false),
        ("beside-values.yaml", &["controllers.compareOnly=false"], true),
    ] {
        let objects = objects(case, set);
        assert_eq!((writes(&objects), compares(&objects)), (want, !want), "{case} {set:?}");
    }
    // Where upstream keeps the endpoints, other parts run all the same.
    for (set, controllers) in [
        (&["controllers.loadBalancer.provider=pool"][..], "--controllers=loadbalancer"),
        (&["pools.enabled=true", "environment.enabled=true"], "--controllers=environment,pools"),
    ] {
        let set: Vec<_> = set.iter().copied().chain(["controllers.endpoints=false"]).collect();
        let objects = objects("beside-values.yaml", &set);
        assert_eq!((writes(&objects), compares(&objects)), (false, false), "{set:?}");
        let args = args(&objects, "Deployment", "portolan-controllers");
        assert!(args.contains(&controllers), "{set:?}: {args:?}");
    }
    let alone = objects("beside-values.yaml", &["pools.enabled=true", "controllers.endpoints=false"]);
    assert!(!grants(&alone, "controllers").contains(&"pods list".to_owned()), "choosing needs no pods");
}

#[test]
fn who_wants_objects_refused_without_an_answer_says_so() {
    let policies = |set: &[&str]| -> Vec<Value> {
        let objects = objects("environment-values.yaml", &[&["pools.enabled=true"], set].concat());
        let all = objects.iter().filter(|object| object["kind"] == "MutatingWebhookConfiguration");
        let all = all.flat_map(|object| object["webhooks"].as_array().into_iter().flatten());
        all.map(|webhook| webhook["failurePolicy"].clone()).collect()
    };
    assert_eq!(policies(&[]), vec![json!("Ignore"); 4]);
    assert_eq!(policies(&["webhook.failurePolicy=Fail"]), vec![json!("Fail"); 4]);
}

/// Rules of the controllers' roles on a resource.
fn rules<'a>(objects: &'a [Value], resource: &str) -> Vec<&'a Value> {
    let roles =
        ["ClusterRole", "Role"].into_iter().filter_map(|kind| object(objects, kind, "portolan-controllers"));
    let rules = roles.flat_map(|role| role["rules"].as_array().into_iter().flatten());
    rules
        .filter(|rule| rule["resources"].as_array().is_some_and(|all| all.contains(&resource.into())))
        .collect()
}

#[test]
fn pods_opt_in_to_a_webhook_that_can_be_away() {
    let objects = objects("environment-values.yaml", &[]);
    let configuration =
        object(&objects, "MutatingWebhookConfiguration", "portolan-environment").expect("it is there");
    let webhooks = configuration["webhooks"].as_array().expect("webhooks");
    assert_eq!(webhooks.len(), 3);
    for webhook in webhooks {
        assert_eq!((&webhook["failurePolicy"], &webhook["sideEffects"]), (&json!("Ignore"), &json!("None")));
        assert_eq!(
            (&webhook["reinvocationPolicy"], &webhook["timeoutSeconds"]),
            (&json!("IfNeeded"), &json!(2))
        );
        assert!(webhook["clientConfig"]["caBundle"].is_null(), "the leader's, not helm's");
        let excluded = &webhook["namespaceSelector"]["matchExpressions"][0];
        assert_eq!((&excluded["operator"], &excluded["values"]), (&json!("NotIn"), &json!(["kube-system"])));
    }
    let secret = object(&objects, "Secret", "portolan-webhook").expect("it goes with the release");
    assert!(secret["data"].is_null() && secret["stringData"].is_null(), "the leader's, not helm's");
    let args = args(&objects, "Deployment", "portolan-controllers");
    assert!(args.contains(&"--controllers=*,environment"), "{args:?}");
    assert!(args.contains(&"--webhook-bind-address=0.0.0.0:10263"), "{args:?}");
    let port = json!({"name": "webhook", "containerPort": 10263});
    let (_, pod) = pods(&objects).find(|(name, _)| *name == "portolan-controllers").expect("the controllers");
    assert!(pod["containers"][0]["ports"].as_array().is_some_and(|ports| ports.contains(&port)));
}

#[test]
fn what_the_webhook_writes_is_granted_by_name() {
    let objects = |set: &[&str]| objects("environment-values.yaml", set);
    for (set, resource, named) in [
        (&[][..], "configmaps", json!(["get", "list", "update", "delete"])),
        (&[], "secrets", json!(["get", "update"])),
        (&["webhook.existingSecret=mine"], "secrets", json!(["get"])),
        (&[], "mutatingwebhookconfigurations", json!(["get", "patch"])),
    ] {
        let objects = objects(set);
        let rules = rules(&objects, resource);
        assert_eq!(rules[0]["verbs"], named, "{resource}");
        assert!(rules[0]["resourceNames"].as_array().is_some_and(|names| !names.is_empty()), "{resource}");
        let made = resource == "configmaps" || resource == "secrets" && set.is_empty();
        assert!(rules[1..].iter().all(|rule| rule["verbs"] == json!(["create"]) && made));
    }
    let given = objects(&["webhook.existingSecret=mine"]);
    assert!(object(&given, "Secret", "portolan-webhook").is_none());
    assert!(args(&given, "Deployment", "portolan-controllers").contains(&"--webhook-secret=mine"));
    for case in cases().iter().filter(|case| *case != "environment-values.yaml") {
        let objects = template("4", case, &[]).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(
            rules(&objects, "configmaps").is_empty()
                && (case == "pools-values.yaml" || rules(&objects, "secrets").is_empty()),
            "{case}"
        );
    }
}

#[test]
fn services_are_shown_to_a_webhook_only_where_there_may_be_pools() {
    fn flags(objects: &[Value]) -> Vec<&str> {
        args(objects, "Deployment", "portolan-controllers")
    }
    let name = "portolan-pools";
    let objects = objects("pools-values.yaml", &[]);
    let configuration = object(&objects, "MutatingWebhookConfiguration", name).expect("it is there");
    let [webhook] = configuration["webhooks"].as_array().expect("webhooks").as_slice() else {
        panic!("one webhook")
    };
    assert_eq!(
        (&webhook["failurePolicy"], &webhook["sideEffects"]),
        (&json!("Ignore"), &json!("NoneOnDryRun"))
    );
    assert_eq!(webhook["rules"][0]["resources"], json!(["services"]));
    let excluded = &webhook["namespaceSelector"]["matchExpressions"][0];
    assert_eq!((&excluded["operator"], &excluded["values"]), (&json!("NotIn"), &json!(["kube-system"])));
    assert!(flags(&objects).contains(&"--controllers=*,pools"), "{:?}", flags(&objects));
    assert!(flags(&objects).contains(&"--webhook-configurations=portolan-pools"), "{:?}", flags(&objects));
    let granted: Vec<_> =
        grants(&objects, "controllers").into_iter().filter(|grant| grant.contains("pools")).collect();
    let mut want = Vec::new();
    for (resources, verbs) in [
        (["serviceippools", "nodeportpools"], &["list", "watch"][..]),
        (["serviceippools/status", "nodeportpools/status"], &["patch"]),
    ] {
        want.extend(resources.iter().flat_map(|one| verbs.iter().map(move |verb| format!("{one} {verb}"))));
    }
    let [granted, want] =
        [granted, want].map(|list| list.into_iter().collect::<std::collections::BTreeSet<_>>());
    assert_eq!(granted, want);
    // The first configuration owns the ConfigMaps with service variables.
    let both = self::objects("environment-values.yaml", &["pools.enabled=true"]);
    let configurations = "--webhook-configurations=portolan-environment,portolan-pools";
    assert!(flags(&both).contains(&configurations), "{:?}", flags(&both));
    assert!(flags(&both).contains(&"--controllers=*,environment,pools"), "{:?}", flags(&both));
    let without = self::objects("environment-values.yaml", &[]);
    assert!(object(&without, "MutatingWebhookConfiguration", name).is_none());
}

#[test]
fn load_balancers_are_made_and_their_right_is_granted_only_if_a_provider_is_named() {
    let (provider, class) =
        ("controllers.loadBalancer.provider=node", "controllers.loadBalancer.class=a.b/c");
    for (set, want) in [
        (&[][..], &[][..]),
        (&[provider], &["--controllers=*,loadbalancer", "--cloud-provider=node"]),
        (
            &[provider, class],
            &["--controllers=*,loadbalancer", "--cloud-provider=node", "--load-balancer-class=a.b/c"],
        ),
    ] {
        let objects = objects("replace-values.yaml", set);
        let flags = ["--controllers", "--cloud-provider", "--load-balancer-class"];
        let mut args = args(&objects, "Deployment", "portolan-controllers");
        args.retain(|arg| flags.iter().any(|flag| arg.starts_with(flag)));
        assert_eq!(args, want, "{set:?}");
        let granted = grants(&objects, "controllers").contains(&"services/status patch".to_owned());
        assert_eq!(granted, !set.is_empty(), "{set:?}");
    }
    let of_pools = |provider: &str| -> Vec<String> {
        let set = format!("controllers.loadBalancer.provider={provider}");
        let granted = grants(&objects("replace-values.yaml", &[&set]), "controllers");
        granted.into_iter().filter(|grant| grant.contains("loadbalancerpools")).collect()
    };
    let want = ["loadbalancerpools list", "loadbalancerpools watch", "loadbalancerpools/status patch"]
        .map(str::to_owned);
    let mut granted = of_pools("pool");
    granted.sort();
    assert_eq!(granted, want);
    assert_eq!(of_pools("node"), [] as [&str; 0]);
}

#[test]
fn nothing_is_granted_by_a_wildcard_and_the_proxy_writes_events_only() {
    for case in cases() {
        let objects = objects(&case, &[]);
        for part in ["controllers", "dns", "proxy", "proxy-cleanup"] {
            assert!(!grants(&objects, part).iter().any(|grant| grant.contains('*')), "{case} {part}");
        }
        for part in ["dns", "proxy"] {
            for grant in grants(&objects, part) {
                let reads = grant.ends_with(" list") || grant.ends_with(" watch");
                let announces =
                    case.starts_with("announce") && part == "proxy" && grant.starts_with("leases ");
                assert!(reads || announces || grant == "events create", "{case}: {part} may {grant}");
            }
        }
    }
    let pods = |set| {
        grants(&objects("replace-values.yaml", set), "dns").iter().any(|grant| grant.starts_with("pods "))
    };
    assert!(!pods(&[]));
    assert!(pods(&["dns.podNames=verified"]), "verified names need Pods");
}

#[test]
fn only_proxies_that_announce_may_write_leases() {
    let leases = |case: &str| {
        let grants = grants(&objects(case, &[]), "proxy");
        grants.into_iter().filter(|grant| grant.starts_with("leases")).collect::<Vec<_>>()
    };
    assert!(leases("replace-values.yaml").is_empty());
    let wanted = ["leases list", "leases watch", "leases create", "leases patch"];
    assert_eq!(leases("announce-values.yaml"), wanted);
    let objects = objects("announce-values.yaml", &[]);
    assert!(object(&objects, "ValidatingAdmissionPolicyBinding", "portolan-proxy-leases").is_some());
    let proxy = object(&objects, "DaemonSet", "portolan-proxy").unwrap();
    assert_eq!(proxy["spec"]["minReadySeconds"], 20, "twice the Lease: until it has joined");
    let args = args(&objects, "DaemonSet", "portolan-proxy");
    for flag in ["--announce=layer2", "--announce-lease-duration=10s"] {
        assert!(args.contains(&flag), "{flag} in {args:?}");
    }
}

#[test]
fn containers_have_the_least_rights() {
    for case in cases() {
        let objects = objects(&case, &[]);
        for (name, pod) in pods(&objects) {
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{case} {name}");
            let program = pod["containers"][0]["name"].as_str().unwrap_or_default();
            assert_eq!(
                pod["automountServiceAccountToken"],
                program != "clean",
                "{name}: said where it is needed"
            );
            for container in pod["containers"].as_array().into_iter().flatten() {
                let rights = &container["securityContext"];
                assert_eq!(rights["allowPrivilegeEscalation"], false, "{case} {name}");
                assert_eq!(rights["readOnlyRootFilesystem"], true, "{case} {name}");
                assert_eq!(rights["capabilities"]["drop"], json!(["ALL"]), "{case} {name}");
                assert!(rights["privileged"].is_null(), "{case} {name}");
                let added = &rights["capabilities"]["add"];
                if ["proxy", "clean"].contains(&program) {
                    let announces = case.starts_with("announce") && program == "proxy";
                    let want = if announces { json!(["NET_ADMIN", "NET_RAW"]) } else { json!(["NET_ADMIN"]) };
                    assert_eq!(*added, want, "{case}");
                } else {
                    assert!(added.is_null(), "{case} {name}");
                    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{case} {name}");
                }
            }
        }
        for account in objects.iter().filter(|object| object["kind"] == "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{case}");
        }
    }
    let init = |set| {
        let objects = objects("replace-values.yaml", set);
        let proxy = object(&objects, "DaemonSet", "portolan-proxy").expect("there is a proxy");
        proxy["spec"]["template"]["spec"]["initContainers"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(
        (init(&[]), init(&["proxy.raiseConntrack=false"])),
        (1, 0),
        "who may not be privileged does without"
    );
}

#[test]
fn pods_in_the_hosts_network_do_not_need_services() {
    let objects = objects("replace-values.yaml", &[]);
    let mut seen = 0;
    let asking = pods(&objects).filter(|(_, pod)| pod["automountServiceAccountToken"] == true);
    for (name, pod) in asking.filter(|(_, pod)| pod["hostNetwork"] == true) {
        let environment = pod["containers"][0]["env"].as_array();
        let host =
            environment.into_iter().flatten().find(|variable| variable["name"] == "KUBERNETES_SERVICE_HOST");
        assert_eq!(host.map(|variable| &variable["value"]), Some(&json!("192.0.2.10")), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 2, "the proxy and its clean-up");
}

#[test]
fn the_dns_service_has_the_given_addresses() {
    let service = |case: &str| {
        let objects = objects(case, &[]);
        let service = object(&objects, "Service", "kube-dns").cloned().unwrap_or_default();
        let listen = args(&objects, "Deployment", "portolan-dns")[0].to_owned();
        (service["spec"]["clusterIPs"].clone(), service["spec"]["ipFamilies"].clone(), listen)
    };
    let ipv4 = (json!(["10.96.0.10"]), json!(["IPv4"]), "--listen=0.0.0.0:53".to_owned());
    assert_eq!(service("replace-values.yaml"), ipv4);
    let both = (
        json!(["fd00:96::a", "10.96.0.10"]),
        json!(["IPv6", "IPv4"]),
        "--listen=0.0.0.0:53,[::]:53".to_owned(),
    );
    assert_eq!(service("dual-stack-values.yaml"), both);
    // One that helm does not see, and that others make: its addresses are said.
    let joined = objects("dual-stack-values.yaml", &["dns.service.create=false"]);
    assert!(object(&joined, "Service", "kube-dns").is_none());
    assert_eq!(args(&joined, "Deployment", "portolan-dns")[0], both.2);
}

/// The family of a pod's first address, at which kubelets ask, is the cluster's first.
#[test]
fn health_is_shown_on_the_clusters_first_family() {
    for (set, host) in [
        (&[][..], "0.0.0.0"),
        (&["dns.clusterIP=fd00:96::a"], "[::]"),
        (&["dns.clusterIP=", "dns.clusterIPs={fd00:96::a,10.96.0.10}"], "[::]"),
        (&["dns.clusterIP=", "dns.clusterIPs={10.96.0.10,fd00:96::a}"], "0.0.0.0"),
    ] {
        let objects = objects("replace-values.yaml", set);
        for (part, port) in [("controllers", 10260), ("dns", 10261)] {
            let name = format!("portolan-{part}");
            let flag = format!("--admin-bind-address={host}:{port}");
            assert!(args(&objects, "Deployment", &name).contains(&flag.as_str()), "{set:?} {part}");
            let object = object(&objects, "Deployment", &name).expect("it is there");
            let container = &object["spec"]["template"]["spec"]["containers"][0];
            assert_eq!(container["readinessProbe"]["httpGet"]["port"], port, "{set:?} {part}");
        }
    }
}

#[test]
fn whoever_takes_the_proxy_away_cleans_up_first() {
    let job = |case, set: &[&str]| {
        let objects = objects(case, set);
        object(&objects, "Job", "portolan-proxy-cleanup").cloned().expect("there is a Job")
    };
    // Without a cluster there is no proxy to be found, which an upgrade would take away.
    for (case, hooks) in [("replace-values.yaml", "pre-delete"), ("dns-only-values.yaml", "pre-rollback")] {
        let objects = objects(case, &[]);
        let kinds = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Job"];
        for kind in kinds {
            let object = object(&objects, kind, "portolan-proxy-cleanup").expect(kind);
            let annotations = &object["metadata"]["annotations"];
            // An account of its own for each Job: one that was left behind has no rights over the next proxy.
            let always = "pre-install,pre-upgrade,pre-rollback,pre-delete";
            let hooks = if kind == "ServiceAccount" { always } else { hooks };
            assert_eq!(annotations["helm.sh/hook"], hooks, "{case} {kind}");
            let fates = &annotations["helm.sh/hook-delete-policy"];
            assert_eq!(fates, "before-hook-creation,hook-succeeded", "{case} {kind}");
        }
        assert_eq!(
            args(&objects, "Job", "portolan-proxy-cleanup")[0],
            "--cleanup-daemonset=kube-system/portolan-proxy"
        );
    }
    let pod = &job("replace-values.yaml", &[])["spec"]["template"]["spec"];
    let tolerations = pod["tolerations"].as_array().expect("there are tolerations");
    let keys: Vec<_> = tolerations.iter().map(|one| one["key"].as_str().unwrap_or("any")).collect();
    let away = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    assert_eq!(keys[..2], ["node-role.kubernetes.io/control-plane", "CriticalAddonsOnly"]);
    assert_eq!(keys[2..], away, "no node that is away");
    assert!(tolerations[2..].iter().all(|one| one["effect"] == "NoExecute" && one["tolerationSeconds"] == 5));
    for (timeout, deadline) in [("120s", 180), ("2m", 180), ("1h2m30s", 3810), ("90s500ms", 150)] {
        let set = format!("proxy.cleanupTimeout={timeout}");
        assert_eq!(
            job("replace-values.yaml", &[&set])["spec"]["activeDeadlineSeconds"],
            deadline,
            "{timeout}"
        );
    }
}

/// What removes the rules comes with the proxy, has its place and rights, and is no hook, so that it outlives every
/// interruption; until the Job says so it has no pods.
#[test]
fn the_clean_up_is_there_before_it_is_needed() {
    let objects = objects("proxy-only-values.yaml", &["proxy.nodeSelector.disk=ssd", "proxy.args={--v=2}"]);
    let [proxy, cleaner] = ["portolan-proxy", "portolan-proxy-cleanup"]
        .map(|name| object(&objects, "DaemonSet", name).expect("there are both"));
    assert!(cleaner["metadata"]["annotations"].is_null());
    let [proxy, cleaner] = [proxy, cleaner].map(|object| &object["spec"]["template"]["spec"]);
    for field in ["nodeSelector", "tolerations", "priorityClassName", "hostNetwork", "securityContext"] {
        assert_eq!(cleaner[field], proxy[field], "{field}");
    }
    assert_eq!(cleaner["nodeSelector"]["disk"], "ssd");
    for (containers, args) in
        [("initContainers", json!(["--cleanup"])), ("containers", json!(["--cleanup", "--stay"]))]
    {
        let container = &cleaner[containers][0];
        assert_eq!(container["args"], args);
        for field in ["image", "imagePullPolicy", "command", "securityContext"] {
            assert_eq!(container[field], proxy["containers"][0][field], "{containers} {field}");
        }
    }
    let terms = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let nowhere = json!([{"matchExpressions": [{"key": "portolan/no-node-yet", "operator": "Exists"}]}]);
    assert_eq!(cleaner.pointer(terms), Some(&nowhere));
    assert!(proxy["affinity"].is_null());
}

#[test]
fn every_object_can_be_found_by_its_release() {
    for case in cases() {
        for object in objects(&case, &[]) {
            let labels = &object["metadata"]["labels"];
            assert_eq!(
                labels["app.kubernetes.io/instance"], "portolan",
                "{case}: {}",
                object["metadata"]["name"]
            );
            if case == "dual-stack-values.yaml" {
                assert_eq!(labels["team"], "network", "commonLabels: {}", object["metadata"]["name"]);
            }
        }
    }
}

#[test]
fn definitions_of_custom_resources_come_with_the_release_and_outlast_it() {
    let definitions = |set: &[&str]| -> Vec<Value> {
        let objects = objects("replace-values.yaml", set).into_iter();
        objects.filter(|object| object["kind"] == "CustomResourceDefinition").collect()
    };
    let files =
        std::fs::read_dir(crate::helm::root().join("charts/portolan/files/crds")).expect("there are some");
    assert_eq!(definitions(&[]), [] as [Value; 0], "nothing reads such resources");
    let all = files.count();
    for set in ["proxy.announce.enabled=true", "pools.enabled=true"] {
        assert_eq!(definitions(&[set]).len(), all, "{set}");
    }
    let made = definitions(&["controllers.loadBalancer.provider=pool"]);
    assert_eq!(made.len(), all);
    for definition in made {
        assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        let plural = definition["spec"]["names"]["plural"].as_str().expect("it has a name");
        let file =
            crate::helm::yaml(&crate::helm::read(&format!("charts/portolan/files/crds/{plural}.yaml")));
        assert_eq!(definition["spec"], file["spec"], "{plural}");
    }
    let without = ["controllers.loadBalancer.provider=pool", "customResources.install=false"];
    assert_eq!(definitions(&without), [] as [Value; 0]);
    assert_eq!(definitions(&["customResources.install=true"]).len(), all);
}

#[test]
fn the_range_of_node_ports_is_told_to_those_who_ask_for_it() {
    let range = "controllers.serviceNodePortRange=20000-32767";
    for (set, want) in [
        (&[range][..], &[][..]),
        (&[range, "controllers.serviceCIDR=true"], &[]),
        (&["controllers.allocation=true"], &[]),
        (&[range, "controllers.allocation=true"], &["--service-node-port-range=20000-32767"]),
        (&[range, "controllers.loadBalancer.provider=node"], &["--service-node-port-range=20000-32767"]),
        (&[range, "pools.enabled=true"], &["--service-node-port-range=20000-32767"]),
    ] {
        let objects = objects("replace-values.yaml", set);
        let mut args = args(&objects, "Deployment", "portolan-controllers");
        args.retain(|arg| arg.starts_with("--service-node-port-range"));
        assert_eq!(args, want, "{set:?}");
    }
}

/// `helm upgrade --reuse-values` takes the values of the earlier release, which lack what came since.
#[test]
fn values_that_came_later_may_be_absent() {
    let absent = [
        "customResources=null",
        "environment=null",
        "pools=null",
        "webhook=null",
        "controllers.allocation=null",
        "controllers.loadBalancer=null",
        "controllers.serviceCIDR=null",
        "controllers.serviceNodePortRange=null",
        "proxy.announce=null",
    ];
    assert_eq!(objects("replace-values.yaml", &absent), objects("replace-values.yaml", &[]));
}
