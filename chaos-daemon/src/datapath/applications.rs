//! What `http` and `dns` faults say beyond their filter, in the kernel, and the programs that read it: loaded for the
//! first such fault.

use std::sync::Arc;

use aya::programs::ProgramFd;
use chaos_ebpf_common::abi::applications;

use super::{Datapath, DatapathError, slots::Slots};
use crate::plan::Application;

/// Places in `HTTP` and `DNS`, and the programs.
pub(super) struct Applications {
    http: Slots,
    dns: Slots,
    /// Kept, so that they stay in `PROGRAMS`.
    programs: Option<[(u32, ProgramFd); 3]>,
}

/// The place of one version of a fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Http(u32),
    Dns(u32),
}

impl Place {
    /// As a rule says it.
    pub fn index(self) -> u32 {
        match self {
            Self::Http(index) | Self::Dns(index) => index,
        }
    }
}

impl Default for Applications {
    fn default() -> Self {
        Self {
            http: Slots::new("faults with `http`", 0, applications::HTTP),
            dns: Slots::new("faults with `dns`", 0, applications::DNS),
            programs: None,
        }
    }
}

impl Datapath {
    /// Writes what a fault says; its rules have to name the place.
    pub(super) fn put_application(&mut self, application: &Arc<Application>) -> Result<Place, DatapathError> {
        self.load_applications()?;
        match application.as_ref() {
            Application::Http(http) => {
                let index = self.applications.http.take()?;
                match self.maps.http.set(index, **http, 0) {
                    Ok(()) => Ok(Place::Http(index)),
                    Err(error) => {
                        self.applications.http.give(index);
                        Err(DatapathError::map("HTTP", error))
                    }
                }
            }
            Application::Dns(dns) => {
                let index = self.applications.dns.take()?;
                match self.maps.dns.set(index, **dns, 0) {
                    Ok(()) => Ok(Place::Dns(index)),
                    Err(error) => {
                        self.applications.dns.give(index);
                        Err(DatapathError::map("DNS", error))
                    }
                }
            }
        }
    }

    /// Gives a place back when no rule names it any more.
    pub(super) fn free_application(&mut self, place: Place) {
        match place {
            Place::Http(index) => self.applications.http.give(index),
            Place::Dns(index) => self.applications.dns.give(index),
        }
    }

    fn load_applications(&mut self) -> Result<(), DatapathError> {
        if self.applications.programs.is_some() {
            return Ok(());
        }
        let programs = self.object.loader.applications()?;
        for (place, program) in &programs {
            self.maps
                .programs
                .set(*place, program, 0)
                .map_err(|e| DatapathError::map("PROGRAMS", e))?;
        }
        self.applications.programs = Some(programs);
        Ok(())
    }
}
