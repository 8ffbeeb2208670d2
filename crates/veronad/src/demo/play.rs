//! The play: the two example flows of XEP-0288, and what they leave out.
//!
//! Each step waits for what it caused, so that the transcript is in the order of the story.

use anyhow::{bail, ensure};

use super::Auth;
use super::component::{Component, Stanza};
use super::transcript::Printer;
use super::world::World;

/// The components that speak.
pub(super) struct Cast {
    capulet: Component,
    montague: Component,
    conference: Component,
}

impl Cast {
    pub(super) async fn attach(world: &World) -> anyhow::Result<Self> {
        Ok(Self {
            capulet: Component::attach(world.capulet.components, "capulet.lit").await?,
            montague: Component::attach(world.montague.components, "montague.lit").await?,
            conference: Component::attach(world.montague.components, "conference.montague.lit")
                .await?,
        })
    }

    pub(super) async fn play(&mut self, auth: Auth, printer: &Printer) -> anyhow::Result<()> {
        printer
            .scene("juliet@capulet.lit/balcony pings montague.lit: C connects to S")
            .await;
        self.ping().await?;
        printer.scene("romeo@montague.lit/orchard writes unasked: S sends on the connection that C opened").await;
        self.unasked().await?;
        match auth {
            Auth::External => Ok(()),
            Auth::Dialback => {
                printer
                    .scene("a room of conference.montague.lit writes: S proves one more domain, on the same connection")
                    .await;
                self.groupchat().await?;
                printer
                    .scene("juliet@capulet.lit/balcony answers the room: the pair flows both ways")
                    .await;
                self.presence().await
            }
        }
    }

    async fn ping(&mut self) -> anyhow::Result<()> {
        self.capulet
            .send(
                "<iq from='juliet@capulet.lit/balcony' to='montague.lit' type='get' id='8dfc70af'>\
                 <ping xmlns='urn:xmpp:ping'/></iq>",
            )
            .await?;
        let request = self.montague.receive().await?;
        expect(&request, "iq", Some("get"), "juliet@capulet.lit/balcony")?;
        self.montague
            .send("<iq from='montague.lit' to='juliet@capulet.lit/balcony' type='result' id='8dfc70af'/>")
            .await?;
        let answer = self.capulet.receive().await?;
        expect(&answer, "iq", Some("result"), "montague.lit")?;
        ensure!(
            answer.id.as_deref() == Some("8dfc70af"),
            "the answer is to another ping: {}",
            answer.xml
        );
        Ok(())
    }

    async fn unasked(&mut self) -> anyhow::Result<()> {
        self.montague
            .send(
                "<message from='romeo@montague.lit/orchard' to='juliet@capulet.lit' type='chat' id='m1'>\
                 <body>Neither, fair saint.</body></message>",
            )
            .await?;
        let message = self.capulet.receive().await?;
        expect(
            &message,
            "message",
            Some("chat"),
            "romeo@montague.lit/orchard",
        )
    }

    async fn groupchat(&mut self) -> anyhow::Result<()> {
        self.conference
            .send(
                "<message from='orchard@conference.montague.lit/nurse' to='juliet@capulet.lit/balcony' \
                 type='groupchat' id='g1'><body>Anon, good nurse!</body></message>",
            )
            .await?;
        let message = self.capulet.receive().await?;
        expect(
            &message,
            "message",
            Some("groupchat"),
            "orchard@conference.montague.lit/nurse",
        )
    }

    async fn presence(&mut self) -> anyhow::Result<()> {
        self.capulet
            .send(
                "<presence from='juliet@capulet.lit/balcony' to='orchard@conference.montague.lit/juliet'>\
                 <status>I come, anon.</status></presence>",
            )
            .await?;
        let presence = self.conference.receive().await?;
        expect(&presence, "presence", None, "juliet@capulet.lit/balcony")
    }
}

fn expect(stanza: &Stanza, name: &str, kind: Option<&str>, from: &str) -> anyhow::Result<()> {
    if stanza.name == name && stanza.kind.as_deref() == kind && stanza.from.as_deref() == Some(from)
    {
        return Ok(());
    }
    bail!(
        "something else than a <{name}/> from {from} arrived: {}",
        stanza.xml
    )
}
