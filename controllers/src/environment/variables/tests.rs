use serde_json::{Value, json};

use super::*;

fn service(namespace: &str, name: &str, spec: &Value) -> Service {
    serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})).unwrap()
}

fn check(services: &[Service], namespace: &str, links: bool, wanted: &[(&str, &str)]) {
    let found = service_variables(services, namespace, links);
    let wanted: Variables =
        wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(found, wanted);
}

/// The table of upstream's `pkg/kubelet/envvars/envvars_test.go`.
#[test]
fn services_are_named_as_upstream_does() {
    let services = [
        service(
            "test",
            "foo-bar",
            &json!({"clusterIP": "1.2.3.4", "ports": [{"port": 8080, "protocol": "TCP"}]}),
        ),
        service(
            "test",
            "abc-123",
            &json!({"clusterIP": "5.6.7.8", "ports": [
                {"name": "u-d-p", "port": 8081, "protocol": "UDP"},
                {"name": "t-c-p", "port": 8081, "protocol": "TCP"}]}),
        ),
        service(
            "test",
            "q-u-u-x",
            &json!({"clusterIP": "9.8.7.6", "ports": [
                {"port": 8082, "protocol": "TCP"}, {"name": "8083", "port": 8083, "protocol": "TCP"}]}),
        ),
        service("test", "svrc-clusterip-none", &json!({"clusterIP": "None", "ports": [{"port": 8082}]})),
        service("test", "svrc-clusterip-empty", &json!({"clusterIP": "", "ports": [{"port": 8082}]})),
        service(
            "test",
            "super-ipv6",
            &json!({"clusterIP": "2001:DB8::", "ports": [
                {"name": "u-d-p", "port": 8084, "protocol": "UDP"},
                {"name": "t-c-p", "port": 8084, "protocol": "TCP"}]}),
        ),
        service(
            "test",
            "sctp-1",
            &json!({"clusterIP": "1.2.3.4", "ports": [{"port": 777, "protocol": "SCTP"}]}),
        ),
    ];
    // Differs from upstream: IPv6 addresses in a Service's environment variables are written in canonical form.
    let wanted = [
        ("FOO_BAR_SERVICE_HOST", "1.2.3.4"),
        ("FOO_BAR_SERVICE_PORT", "8080"),
        ("FOO_BAR_PORT", "tcp://1.2.3.4:8080"),
        ("FOO_BAR_PORT_8080_TCP", "tcp://1.2.3.4:8080"),
        ("FOO_BAR_PORT_8080_TCP_PROTO", "tcp"),
        ("FOO_BAR_PORT_8080_TCP_PORT", "8080"),
        ("FOO_BAR_PORT_8080_TCP_ADDR", "1.2.3.4"),
        ("ABC_123_SERVICE_HOST", "5.6.7.8"),
        ("ABC_123_SERVICE_PORT", "8081"),
        ("ABC_123_SERVICE_PORT_U_D_P", "8081"),
        ("ABC_123_SERVICE_PORT_T_C_P", "8081"),
        ("ABC_123_PORT", "udp://5.6.7.8:8081"),
        ("ABC_123_PORT_8081_UDP", "udp://5.6.7.8:8081"),
        ("ABC_123_PORT_8081_UDP_PROTO", "udp"),
        ("ABC_123_PORT_8081_UDP_PORT", "8081"),
        ("ABC_123_PORT_8081_UDP_ADDR", "5.6.7.8"),
        ("ABC_123_PORT_8081_TCP", "tcp://5.6.7.8:8081"),
        ("ABC_123_PORT_8081_TCP_PROTO", "tcp"),
        ("ABC_123_PORT_8081_TCP_PORT", "8081"),
        ("ABC_123_PORT_8081_TCP_ADDR", "5.6.7.8"),
        ("Q_U_U_X_SERVICE_HOST", "9.8.7.6"),
        ("Q_U_U_X_SERVICE_PORT", "8082"),
        ("Q_U_U_X_SERVICE_PORT_8083", "8083"),
        ("Q_U_U_X_PORT", "tcp://9.8.7.6:8082"),
        ("Q_U_U_X_PORT_8082_TCP", "tcp://9.8.7.6:8082"),
        ("Q_U_U_X_PORT_8082_TCP_PROTO", "tcp"),
        ("Q_U_U_X_PORT_8082_TCP_PORT", "8082"),
        ("Q_U_U_X_PORT_8082_TCP_ADDR", "9.8.7.6"),
        ("Q_U_U_X_PORT_8083_TCP", "tcp://9.8.7.6:8083"),
        ("Q_U_U_X_PORT_8083_TCP_PROTO", "tcp"),
        ("Q_U_U_X_PORT_8083_TCP_PORT", "8083"),
        ("Q_U_U_X_PORT_8083_TCP_ADDR", "9.8.7.6"),
        ("SUPER_IPV6_SERVICE_HOST", "2001:db8::"),
        ("SUPER_IPV6_SERVICE_PORT", "8084"),
        ("SUPER_IPV6_SERVICE_PORT_U_D_P", "8084"),
        ("SUPER_IPV6_SERVICE_PORT_T_C_P", "8084"),
        ("SUPER_IPV6_PORT", "udp://[2001:db8::]:8084"),
        ("SUPER_IPV6_PORT_8084_UDP", "udp://[2001:db8::]:8084"),
        ("SUPER_IPV6_PORT_8084_UDP_PROTO", "udp"),
        ("SUPER_IPV6_PORT_8084_UDP_PORT", "8084"),
        ("SUPER_IPV6_PORT_8084_UDP_ADDR", "2001:db8::"),
        ("SUPER_IPV6_PORT_8084_TCP", "tcp://[2001:db8::]:8084"),
        ("SUPER_IPV6_PORT_8084_TCP_PROTO", "tcp"),
        ("SUPER_IPV6_PORT_8084_TCP_PORT", "8084"),
        ("SUPER_IPV6_PORT_8084_TCP_ADDR", "2001:db8::"),
        ("SCTP_1_SERVICE_HOST", "1.2.3.4"),
        ("SCTP_1_SERVICE_PORT", "777"),
        ("SCTP_1_PORT", "sctp://1.2.3.4:777"),
        ("SCTP_1_PORT_777_SCTP", "sctp://1.2.3.4:777"),
        ("SCTP_1_PORT_777_SCTP_PROTO", "sctp"),
        ("SCTP_1_PORT_777_SCTP_PORT", "777"),
        ("SCTP_1_PORT_777_SCTP_ADDR", "1.2.3.4"),
    ];
    assert_eq!(wanted.len(), 52);
    check(&services, "test", true, &wanted);
    check(&services, "test", false, &[]);
    check(&services, "other", true, &[]);
}

fn hosts(services: &[Service], namespace: &str, links: bool) -> Vec<(String, String)> {
    let variables = service_variables(services, namespace, links);
    variables.into_iter().filter(|(name, _)| name.ends_with("_HOST")).collect()
}

#[test]
fn kubernetes_is_always_named_and_the_namespaces_own_goes_first() {
    let port = json!([{"port": 443}]);
    let services = [
        service("shop", "kubernetes", &json!({"clusterIP": "10.0.0.2", "ports": port})),
        service("default", "kubernetes", &json!({"clusterIP": "10.0.0.1", "ports": port})),
        service("shop", "a.b", &json!({"clusterIP": "10.0.0.3", "ports": port})),
        service("default", "c", &json!({"clusterIP": "10.0.0.4", "ports": port})),
    ];
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let own = [pair("A.B_SERVICE_HOST", "10.0.0.3"), pair("KUBERNETES_SERVICE_HOST", "10.0.0.2")];
    let master = [pair("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    let mut turned = services.clone();
    turned.reverse();
    for services in [services, turned] {
        assert_eq!(hosts(&services, "shop", true), own);
        assert_eq!(hosts(&services, "shop", false), master);
        assert_eq!(hosts(&services, "empty", true), master);
    }
}

/// Upstream lets chance decide.
#[test]
fn of_two_services_with_one_variable_the_later_name_wins() {
    let port = json!([{"port": 80}]);
    let services = [
        service("n", "a-port-80-tcp", &json!({"clusterIP": "10.0.0.2", "ports": [{"port": 81}]})),
        service("n", "a", &json!({"clusterIP": "10.0.0.1", "ports": port})),
    ];
    let variables = service_variables(&services, "n", true);
    assert_eq!(variables["A_PORT_80_TCP_PORT"], "tcp://10.0.0.2:81");
    assert_eq!(variables["A_PORT_80_TCP"], "tcp://10.0.0.1:80");
}

#[test]
fn aliases_and_the_second_family_have_no_variables() {
    let services = [
        service("n", "alias", &json!({"type": "ExternalName", "externalName": "a.example"})),
        service(
            "n",
            "b",
            &json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1", "10.0.0.1"],
            "ports": [{"port": 1}]}),
        ),
    ];
    let variables = service_variables(&services, "n", true);
    assert_eq!(variables["B_SERVICE_HOST"], "fd00::1");
    assert_eq!(variables.len(), 7);
}
