//! Resource Manager's error body (ARM common API details, "error response"): `{"error":{"code","message","target"?,"additionalInfo"?}}`.

use base::Error;
use serde_json::{Value, json};

/// The body that every Resource Manager client reads. The cause stays with the operator.
pub fn arm_error_body(error: &Error) -> Value {
    let mut inner = json!({"code": error.code, "message": error.message});
    if let Some(target) = &error.target {
        inner["target"] = Value::String(target.clone());
    }
    if let Some(info) = error.info.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        inner["additionalInfo"] = info;
    }
    json!({ "error": inner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_code_message_and_target_but_not_the_cause() {
        let error = Error::invalid("InvalidParameter", "No.").at("location").because("secret path");
        assert_eq!(arm_error_body(&error).to_string(), r#"{"error":{"code":"InvalidParameter","message":"No.","target":"location"}}"#);
        let told = Error::invalid("A", "b").with_info(r#"[{"type":"PolicyViolation"}]"#);
        assert_eq!(arm_error_body(&told)["error"]["additionalInfo"][0]["type"], "PolicyViolation");
    }
}
