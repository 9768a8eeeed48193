package import KeyCustody

extension KeyEnvelope: JSONCoded {
  /// Reads the members of RFC 7516, section 7.2.2.
  package init(json: JSON) throws(KeyCustodyError) {
    let members = try json.members()
    self.init(
      protected: try members.text("protected"), encryptedKey: try members.text("encrypted_key"),
      iv: try members.text("iv"), ciphertext: try members.text("ciphertext"), tag: try members.text("tag"))
  }

  /// Writes them.
  package func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.member("ciphertext", ciphertext)
      writer.member("encrypted_key", encryptedKey)
      writer.member("iv", iv)
      writer.member("protected", protected)
      writer.member("tag", tag)
    }
  }
}
