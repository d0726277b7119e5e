//! The certificate that the server shows: in a Secret that all replicas share.
//!
//! Whoever finds no Secret that can be read makes one; of several replicas the API server lets one, and the others take what
//! that one made. The leader alone rotates it, replaces what is refused, and tells the API server whom to trust.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use portolan_runtime::{Admin, Leadership, explain};
use prometheus_client::metrics::gauge::Gauge;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::issue::{Issued, issue};
use super::rotation::{Certificate, Data, Step, Times, authority_of_serving, keys, plan};
use super::trust::publish;

/// The certificate that new connections get to see.
#[derive(Debug, Default)]
pub struct Served(watch::Sender<Option<Arc<CertifiedKey>>>);

impl Served {
    fn set(&self, key: Arc<CertifiedKey>) {
        self.0.send_replace(Some(key));
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().clone()
    }

    /// Waits until there is one.
    pub(super) async fn there(&self) {
        // The sender is here as long as this is: it cannot end.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get()
    }
}

/// Whose Secret it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Portolan makes and rotates what it holds.
    Portolan,
    /// Somebody else does; it is only read.
    SomebodyElse,
}

/// What the certificate is kept with.
pub struct Identity {
    /// The API server.
    pub client: Client,
    /// Namespace of the Secret.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// Whose it is.
    pub keeper: Keeper,
    /// Name by which the API server calls the server: `SERVICE.NAMESPACE.svc`.
    pub name: String,
    /// Names of the MutatingWebhookConfigurations that are told whom to trust.
    pub configurations: Vec<String>,
    /// Asked before the Secret is rotated and the configurations are written.
    pub leadership: Leadership,
    /// Durations.
    pub times: Times,
}

/// A running [`Identity`].
#[derive(Clone)]
struct Keeping {
    served: Arc<Served>,
    not_after: Gauge<i64, AtomicI64>,
}

impl Identity {
    /// Keeps the certificate until shutdown.
    pub fn run(
        self,
        admin: &Admin,
        shutdown: CancellationToken,
    ) -> (Arc<Served>, tokio::task::JoinHandle<()>) {
        let served = Arc::new(Served::default());
        let not_after = Gauge::<i64, AtomicI64>::default();
        admin.register(|registry| {
            registry.register(
                "portolan_webhook_certificate_not_after_timestamp_seconds",
                "When the certificate that the webhook shows ends",
                not_after.clone(),
            );
        });
        admin.check_ready("webhook", {
            let served = served.clone();
            move || served.get().map(|_| ()).ok_or_else(|| "no certificate yet".to_owned())
        });
        let keeping = Keeping { served: served.clone(), not_after };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = self.keep(keeping) => {}
                () = shutdown.cancelled() => {}
            }
        });
        (served, task)
    }

    async fn keep(self, keeping: Keeping) {
        let (mut told, mut leadership) = (String::new(), self.leadership.clone());
        loop {
            let led = leadership.may_write();
            let look = match self.look(&keeping).await {
                Ok(true) => {
                    told.clear();
                    self.times.look
                }
                // Something was written, by us or by another at the same moment.
                Ok(false) => self.times.look / 20,
                Err(reason) => {
                    if told != reason {
                        warn!(secret = self.secret, reason, "the webhook's certificate is not kept");
                        told = reason;
                    }
                    self.times.look / 4
                }
            };
            tokio::select! {
                () = tokio::time::sleep(look) => {}
                // A new leader has what the others must not do.
                () = leadership.acquired(), if !led => {}
            }
        }
    }

    /// Looks at the Secret and makes at most one step. Returns whether nothing was to be done.
    async fn look(&self, keeping: &Keeping) -> Result<bool, String> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let secret = api.get_opt(&self.secret).await.map_err(|error| explain(&error))?;
        let data = secret.as_ref().and_then(|secret| secret.data.clone()).unwrap_or_default();
        let data: Data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
        let shown = Certificate::shown(&data);
        if let Ok(shown) = &shown {
            // What is refused below is still better than none: the API server may trust it all the same.
            keeping.served.set(shown.key.clone());
            keeping.not_after.set(shown.not_after.as_second());
        }
        let mut published = true;
        if let Some(authorities) = data.get(keys::AUTHORITIES).filter(|_| shown.is_ok()) {
            for configuration in self.configurations.iter().filter(|_| self.leadership.may_write()) {
                let outcome = publish(&self.client, configuration, authorities).await;
                published &= outcome.map_err(|error| format!("{configuration}: {}", explain(&error)))?;
            }
        }
        if self.keeper == Keeper::SomebodyElse {
            shown?;
            if !data.contains_key(keys::AUTHORITIES) {
                return Err(format!(
                    "it has no {}: the API server trusts the webhook only if somebody else puts its authority into the \
                     webhook's configuration",
                    keys::AUTHORITIES
                ));
            }
            return Ok(published);
        }
        let now = Timestamp::now();
        let annotations = secret.as_ref().and_then(|secret| secret.metadata.annotations.as_ref());
        let stepped = annotations.and_then(|annotations| annotations.get(keys::STEPPED)?.parse().ok());
        let step = plan(&data, stepped, published, &self.name, now, &self.times);
        match (&step, &secret) {
            (Step::Keep, _) => return Ok(published),
            // It may be this replica's clock that is wrong, and replicas of different clocks would never end.
            (Step::Reissue(reason), _) if !self.leadership.may_write() => {
                return Err(format!("{reason}; it is the leader's to replace"));
            }
            (Step::Replace(reason) | Step::Reissue(reason), Some(_)) if !data.is_empty() => {
                warn!(secret = self.secret, reason, "the webhook's Secret cannot be used; it is made anew");
            }
            (Step::Replace(_), _) => {}
            _ if !self.leadership.may_write() => return Ok(published),
            _ => {}
        }
        let data = self.carry_out(&step, data, now)?;
        self.write(&api, secret, data, now).await?;
        info!(secret = self.secret, ?step, "the webhook's certificate");
        Ok(false)
    }

    /// The data of the Secret after a step.
    fn carry_out(&self, step: &Step, mut data: Data, now: Timestamp) -> Result<Data, String> {
        let issue = || issue(&self.name, now, self.times.lifetime).map_err(|error| error.to_string());
        let signer = authority_of_serving(&data, &self.name, now).map(|authority| pem(&authority));
        match step {
            Step::Keep => {}
            Step::Replace(_) | Step::Reissue(_) => {
                let Issued { authority, certificate, key } = issue()?;
                data.retain(|key, _| key != keys::NEXT_CERTIFICATE && key != keys::NEXT_KEY);
                data.insert(keys::AUTHORITIES.to_owned(), authority.into_bytes());
                data.insert(keys::CERTIFICATE.to_owned(), certificate.into_bytes());
                data.insert(keys::KEY.to_owned(), key.into_bytes());
            }
            Step::Prepare => {
                let Issued { authority, certificate, key } = issue()?;
                let both = signer.unwrap_or_default() + &authority;
                data.insert(keys::AUTHORITIES.to_owned(), both.into_bytes());
                data.insert(keys::NEXT_CERTIFICATE.to_owned(), certificate.into_bytes());
                data.insert(keys::NEXT_KEY.to_owned(), key.into_bytes());
            }
            Step::Promote => {
                for (next, shown) in
                    [(keys::NEXT_CERTIFICATE, keys::CERTIFICATE), (keys::NEXT_KEY, keys::KEY)]
                {
                    let value = data.remove(next).ok_or_else(|| format!("it has no {next}"))?;
                    data.insert(shown.to_owned(), value);
                }
            }
            Step::Retire => {
                data.retain(|key, _| key != keys::NEXT_CERTIFICATE && key != keys::NEXT_KEY);
                let signer = signer.ok_or("no authority has signed what is shown")?;
                data.insert(keys::AUTHORITIES.to_owned(), signer.into_bytes());
            }
        }
        Ok(data)
    }

    /// Writes the Secret if it is as it was read, or still absent.
    async fn write(
        &self,
        api: &Api<Secret>,
        found: Option<Secret>,
        data: Data,
        now: Timestamp,
    ) -> Result<(), String> {
        let exists = found.is_some();
        let label = ("app.kubernetes.io/managed-by".to_owned(), "portolan".to_owned());
        let name = || ObjectMeta {
            name: Some(self.secret.clone()),
            labels: Some([label].into()),
            ..ObjectMeta::default()
        };
        let mut secret = found.unwrap_or_else(|| Secret { metadata: name(), ..Secret::default() });
        secret.data = Some(data.into_iter().map(|(key, value)| (key, ByteString(value))).collect());
        secret.metadata.annotations.get_or_insert_default().insert(keys::STEPPED.to_owned(), now.to_string());
        secret.metadata.managed_fields = None;
        let params =
            PostParams { field_manager: Some("portolan-controllers".to_owned()), ..PostParams::default() };
        let written = if exists {
            api.replace(&self.secret, &params, &secret).await
        } else {
            api.create(&params, &secret).await
        };
        match written {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                debug!(secret = self.secret, "another replica was faster");
                Ok(())
            }
            Err(error) => Err(explain(&error)),
        }
    }
}

/// A certificate in PEM.
fn pem(certificate: &[u8]) -> String {
    let text = serde_json::to_value(ByteString(certificate.to_vec())).unwrap_or_default();
    let lines: Vec<_> =
        text.as_str().unwrap_or_default().as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests;
