use std::collections::BTreeMap;

use ::http::Method;
use chaos_spec::diagnostic::cut;
use chaos_spec::{Expect, HttpUrl, PrometheusProbe, ValueBound};
use serde::Deserialize;

use super::http::Prepared;
use crate::prober::ProbeError;
use crate::{Fail, Net, Reading};

/// Characters that a server may tell of what is wrong: reasons are kept, and its answer may have a megabyte.
const MOST_REASON: usize = 400;

pub(crate) struct Prometheus {
    request: Prepared,
    expected: ValueBound,
}

impl Prometheus {
    pub(super) fn new(probe: &PrometheusProbe, expect: &Expect) -> Result<Self, ProbeError> {
        let expected = expect
            .value
            .ok_or_else(|| ProbeError::Request(format!("{} without an expected value", probe.query)))?;
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", &probe.query)
            .finish();
        let base = probe.url.as_str().trim_end_matches('/');
        let url: HttpUrl = format!("{base}/api/v1/query?{query}")
            .parse()
            .map_err(|_| ProbeError::Request(probe.url.to_string()))?;
        let headers: &BTreeMap<String, String> = &probe.headers;
        Ok(Self {
            request: Prepared::new(&url, Method::GET, headers, String::new(), &probe.tls)?,
            expected,
        })
    }

    pub(super) async fn take(&self, net: &dyn Net) -> Result<Reading, Fail> {
        let (status, body) = self.request.ask(net).await?;
        let answer: Answer = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            Err(_) if !status.is_success() => return Err(Fail::Status(status.as_u16())),
            Err(error) => return Err(Fail::Malformed(error.to_string())),
        };
        if answer.status != "success" || !status.is_success() {
            let why = answer
                .error
                .unwrap_or_else(|| format!("HTTP status {}", status.as_u16()));
            return Err(Fail::Query(cut(why, MOST_REASON)));
        }
        let data = answer
            .data
            .ok_or_else(|| Fail::Malformed("there is no `data`".to_owned()))?;
        let value = number(&data)?;
        if !self.expected.holds(value) {
            return Err(Fail::Value {
                value,
                expected: self.expected,
            });
        }
        Ok(Reading {
            value: Some(value),
            status: None,
        })
    }
}

/// What `/api/v1/query` answers.
#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Point),
    Vector(Vec<Series>),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    /// Absent when the series is a histogram.
    #[serde(default)]
    value: Option<Point>,
}

/// Time and number, the latter as text.
#[derive(Deserialize)]
struct Point(
    #[allow(dead_code, reason = "stands before the number")] f64,
    String,
);

fn number(data: &Data) -> Result<f64, Fail> {
    let none = |why: &str| Err(Fail::NoNumber(why.to_owned()));
    let point = match data {
        Data::Scalar(point) => point,
        Data::Vector(series) => match series.as_slice() {
            [] => return none("no series"),
            [Series { value: Some(point) }] => point,
            [_] => return none("a histogram"),
            several => return none(&format!("{} series", several.len())),
        },
        Data::Matrix(_) => return none("a range of values"),
        Data::String(_) => return none("a text"),
    };
    match point.1.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(value) => none(&value.to_string()),
        Err(_) => {
            let written = cut(point.1.as_str(), MOST_REASON);
            Err(Fail::Malformed(format!("`{written}` is no number")))
        }
    }
}

#[cfg(test)]
mod tests {
    use chaos_fuzz::{cases, damaged};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_server_says_is_kept_in_short() {
        let point = format!(
            r#"{{"resultType":"scalar","result":[1,"{}"]}}"#,
            "x".repeat(1 << 20)
        );
        let Err(Fail::Malformed(why)) = read(&point) else {
            panic!("it is a number");
        };
        assert!(why.len() < 1000, "{} bytes", why.len());
    }

    proptest! {
        #![proptest_config(cases(500))]
        #[test]
        fn damaged_answers_are_a_number_or_a_failure(text in damaged(vec![
            br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"3"]}]}}"#.to_vec(),
            br#"{"status":"error","error":"no such metric","data":{"resultType":"matrix","result":[[1,[2]]]}}"#.to_vec(),
            br#"{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"0.25"]}}"#.to_vec(),
        ])) {
            let answer = serde_json::from_slice::<Answer>(&text.0);
            if let Some(data) = answer.ok().and_then(|answer| answer.data) {
                match number(&data) {
                    Ok(number) => prop_assert!(number.is_finite()),
                    Err(fail) => prop_assert!(fail.to_string().len() < 1000),
                }
            }
        }
    }

    fn read(text: &str) -> Result<f64, Fail> {
        number(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn one_number_or_none() {
        assert_eq!(read(r#"{"resultType":"scalar","result":[1.5,"0.25"]}"#), Ok(0.25));
        let series = r#"{"metric":{"a":"b"},"value":[1,"3"]}"#;
        let vector = |items: &str| read(&format!(r#"{{"resultType":"vector","result":[{items}]}}"#));
        assert_eq!(vector(series), Ok(3.0));
        assert_eq!(vector(""), Err(Fail::NoNumber("no series".to_owned())));
        assert_eq!(
            vector(&format!("{series},{series}")),
            Err(Fail::NoNumber("2 series".to_owned()))
        );
        for odd in ["NaN", "+Inf", "-Inf"] {
            let said = vector(&format!(r#"{{"metric":{{}},"value":[1,"{odd}"]}}"#));
            assert!(matches!(said, Err(Fail::NoNumber(_))), "{odd}: {said:?}");
        }
        assert!(matches!(
            vector(r#"{"metric":{},"value":[1,"x"]}"#),
            Err(Fail::Malformed(_))
        ));
        assert!(matches!(
            vector(r#"{"metric":{},"histogram":[1,{}]}"#),
            Err(Fail::NoNumber(_))
        ));
        assert!(matches!(
            read(r#"{"resultType":"matrix","result":[]}"#),
            Err(Fail::NoNumber(_))
        ));
    }
}
