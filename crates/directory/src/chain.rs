//! The rules by which sources are asked one after the other, as Dovecot has them.
//!
//! Each source answers yes, no (an unknown user or a wrong password) or not at all (an outage). Its rule for that answer says
//! whether the next one is asked, and what the whole comes to as long as nobody says otherwise. A password that was proved once
//! is not looked at again. Whoever could not be asked may have known the password: when nobody has said yes, that is an
//! outage, never a no. `tests/chain.rs` compares every pair of rules with an installed Dovecot.

/// What follows from an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// It is a yes, and nobody else is asked.
    ReturnOk,
    /// It is a no, and nobody else is asked.
    ReturnFail,
    /// What earlier ones said stands, and nobody else is asked.
    Return,
    /// It is a yes unless a later one says otherwise.
    ContinueOk,
    /// It is a no unless a later one says otherwise.
    ContinueFail,
    /// What earlier ones said stands unless a later one says otherwise.
    Continue,
}

impl Rule {
    fn goes_on(self) -> bool {
        matches!(self, Self::ContinueOk | Self::ContinueFail | Self::Continue)
    }
}

/// The rules of one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Results {
    /// When it says yes (`result_success`).
    pub success: Rule,
    /// When it says no (`result_failure`).
    pub failure: Rule,
    /// When it cannot be asked (`result_internalfail`).
    pub outage: Rule,
}

impl Default for Results {
    fn default() -> Self {
        Self { success: Rule::ReturnOk, failure: Rule::Continue, outage: Rule::Continue }
    }
}

/// When a source is passed over.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Skip {
    /// Never.
    #[default]
    Never,
    /// When the password was proved already.
    Authenticated,
    /// As long as it was not.
    Unauthenticated,
}

/// What a source said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Nothing: it could not be asked.
    Outage,
}

/// What a walk came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Nobody said yes, and somebody could not be asked.
    Outage,
}

/// A walk along the sources.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Walk {
    success: bool,
    proved: bool,
    outage: bool,
}

impl Walk {
    /// One on which no password is looked at.
    pub fn proved() -> Self {
        Self { proved: true, ..Self::default() }
    }

    /// Need the password not be looked at any more?
    pub fn is_proved(&self) -> bool {
        self.proved
    }

    /// Is a source passed over now?
    pub fn skips(&self, skip: Skip) -> bool {
        match skip {
            Skip::Never => false,
            Skip::Authenticated => self.proved,
            Skip::Unauthenticated => !self.proved,
        }
    }

    /// Takes an answer; is the next source asked?
    pub fn take(&mut self, answer: Answer, results: &Results) -> bool {
        let rule = match answer {
            Answer::Yes => results.success,
            Answer::No => results.failure,
            Answer::Outage => results.outage,
        };
        self.outage |= answer == Answer::Outage;
        match rule {
            Rule::ReturnOk => self.success = true,
            Rule::ReturnFail | Rule::ContinueFail => self.success = false,
            Rule::ContinueOk => (self.success, self.proved) = (true, true),
            Rule::Continue => self.proved |= answer == Answer::Yes,
            Rule::Return => {}
        }
        rule.goes_on()
    }

    /// What it comes to.
    pub fn end(&self) -> End {
        match (self.success, self.outage) {
            (true, _) => End::Yes,
            (false, true) => End::Outage,
            (false, false) => End::No,
        }
    }
}
