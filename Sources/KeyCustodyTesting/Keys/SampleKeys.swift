import KeyCustody

/// Key pairs and ciphertexts made elsewhere, for importing: they show that a provider does the published algorithms and
/// not merely undoes what it did.
///
/// The private keys are public, and protect nothing.
enum SampleKeys {
  /// What the two RSA ciphertexts hold.
  static let wrappedSecret = [UInt8](0x40..<0x60)
  /// Where the first prime's last byte stands in ``rsaPrivateKey``.
  static let rsaPrimeOffset = 690
  /// Where the scalar stands in ``ecPrivateKey``.
  static let ecScalarRange = 36..<68

  /// An RSA-2048 private key, PKCS#8 DER.
  static let rsaPrivateKey = bytes(
    """
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCwhlocbnGgTJfi_49ANY0jUZ_ZZo6QHcMcYX1sdeRV_omYhVOI\
    F6-zEJ1CGBjvuby4YMBRFJhYcOGv2_V9jdnrc3Q5U7eazaQvG4LPc6HK1RGtd2Iuiwne4-RYflK7AEKwa3k92IvdCil5CDm6RsJ6\
    R2QC21a4WVEGjhghY6dUatKk5FHgooPLVoFvE3rApZ7IfaMwKJM8JGzyy5AKQZhTK097R0u066EIKtFe-YusKQNp0cVTNS5u0Yei\
    rvD-HbGMHPAxIlTt7wKebVM1vSGJGiTRYeRF6HDWPX861q35SSkNzI4JUltBUk4aNf0pt9bllkg0fQivGwPLnruDLAFRAgMBAAEC\
    ggEAGyXeb-bwZKXC6i9Bea-CsD7aZZXnMPTSz-eSYX7UCgGmaaV_jjuOUuyoMsT_-MZI5tZCXXXcZCWgH-qlG5UYQaS06Cge4Zjk\
    ujXx7TOsW0Rffp0QpXXOo8_Ki22KDaZhmz48HC3UfL8WV73TGvnM6P9XuzS-ZoWd93Mc9O2di1bMzcWTBXuHh7RnD-mHTollepc-\
    kd8R-w7Nhaa6PxllG8mfC-UCHHkoYctgDZ8fB8cl1QQEXNC6rSyyukjSM43hkb16gFg4erYW5duOTb3bwQamRM2gHGLDNxk4KGuU\
    7SO-Ktkl4TQ6A4BAwiTMnMYaoGXTkPVMnqfzjmIYj-4rEQKBgQDl9HIgYyE5IhfB5qOsqB7A1vDL6NL0aCh1tJe8n7_EUwp4tMD_\
    _8UUMB4Gmt8C58CO2-LCc14cAm57snK9SRkJYXvNd5q5SsswmxFK9HLfTg8wvxVYrFxGPX3Juhk86yMvNJDyw6QMNgRQXI4J8bsl\
    pPGqbnv6OGX0BfAlSHYF7QKBgQDEhLLkBVOmEUHT0axm_4qZq6H-mAmNmqNVLwHeMJSRTBRFP-GbMgHGjW7P3xLFWONY4_CNDRLz\
    fUsY9_5RHCmvnj78h1KAnTUaEolqsgIcqv4riDsZH-nMa1_lakspQiYyX1vYX8No-9rmcIeL9K-e4EQziJEH3GrJ3Vzt6D78dQKB\
    gDnIVvU0c6C7pGSg4_f6tt-WIyPZ-UhY8_G_03EeYz2d8D-si-LIDmmoPaNDP06nlYdQUYazHq7DHagPiy1tNNFaoZVbvJFa7fvk\
    u0-uZT8fikmhemexx-4OfZE3JihcnZa7CsE1z_8Rg7v9xeNRzskCzYcaBCU4DsZmx5VWw_FxAoGAPv6Kma1bcxB1GYFM0nd35mqu\
    Mv5pkYrQcK3w21iXRzwsA0bG-wi8qPkNXHUVf01PE1997LkUKhkvyYE1dKqicjk315tJRxEdxI3MnvcQ1j-52hqBVzxzpaOFyfSY\
    w1EBDYSj3GhWK4EQWm4YBTUaVsNtGVfdpbdyQ-NBtsGL70ECgYEAwCcFjEAvXX7vP4nXz_rfK2S1pgoXDvO-wtQ9ASk3GTp5922p\
    pb3_--cI99whw4sTL1mTLBUczSkgaiNrsRwpdHjKp_LERnKAxdGO6ZLezwXWBPoY1VJ1TcogcNAqVoYxzN3qwvFqDayaa5qLOuXd\
    2arsC6Tp0mM8LmBV1CPf0zA
    """)
  /// Its public key, SubjectPublicKeyInfo DER.
  static let rsaPublicKey = bytes(
    """
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAsIZaHG5xoEyX4v-PQDWNI1Gf2WaOkB3DHGF9bHXkVf6JmIVTiBevsxCd\
    QhgY77m8uGDAURSYWHDhr9v1fY3Z63N0OVO3ms2kLxuCz3OhytURrXdiLosJ3uPkWH5SuwBCsGt5PdiL3QopeQg5ukbCekdkAttW\
    uFlRBo4YIWOnVGrSpORR4KKDy1aBbxN6wKWeyH2jMCiTPCRs8suQCkGYUytPe0dLtOuhCCrRXvmLrCkDadHFUzUubtGHoq7w_h2x\
    jBzwMSJU7e8Cnm1TNb0hiRok0WHkRehw1j1_Otat-UkpDcyOCVJbQVJOGjX9KbfW5ZZINH0IrxsDy567gywBUQIDAQAB
    """)
  /// ``wrappedSecret`` under the RSA key, RSAES-OAEP with SHA-1 and MGF1 with SHA-1, made by OpenSSL.
  static let rsaOAEP = bytes(
    """
    f54Tvn4Y7riN9Dshd24Lgn7mcFrvkn3dvLk7_alAWDp58qIRF9sFMnzTr91ZPka11QTS9ac85Wgp-MXw04RWhmBdHMfYtcvb08J7\
    dLwAk_ob_v4JhaOv-8LnSUMlEeRvsul3lVdfFpHnAQ2_hx1OHcO3uZdO3CiJnhPAGiWSYzgIacSd0g3e_wi6xWGHABNatRTqRsnE\
    hTe05sEnOhDFg1l391OQ61_RK3QIHgMWB-ir5DU0rv71AEKfWKellnMOZIBYlF5VlELK7Q33jGOWOsQ6AOes_QcKUb1TZ02L-gpZ\
    Gn5uUc-agSMTbFtr2iVH_xtRF9UUdTX3k6PmIlrcyA
    """)
  /// ``wrappedSecret`` under the RSA key, RSAES-OAEP with SHA-256 and MGF1 with SHA-256, made by OpenSSL.
  static let rsaOAEP256 = bytes(
    """
    KsgwT1twITG8d9GY7tBctwOjVeA9m87QJLgSUdNco_5j3QgavYnNmiQqa2xJBXAZ43cyC83QB2oaylekJfYcQ_uhwgd0EfvHXLhT\
    zoPOfDCe6uzGYxKn96FQ_b2oiHsACuUOaX-ERYzOC7NEevqdB1PvIGKoFmNuFP3--v_6vy6NHKJj5irSb_PhugC-oDaXqJCfqIGD\
    SL27TgQq3bDIwo-FEnW_sUKLDZ_Wf6FOUTotcNQJgYEpTIgXh1EFRSY9etLF7BsNlWw25Vhy14UfPWgKY0s4PUjPbBCeT4oyORtR\
    M84Tgd0-7akd7AlJxDQnFrceAm9Zx1wEFMUB_F-oQg
    """)
  /// A P-256 private key, PKCS#8 DER.
  static let ecPrivateKey = bytes(
    """
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDkoC27Rop8Qd0Co6WrF1dboS8naPUk1cPWattANs-2ChRANCAATJ\
    Z-S0PSVCGwdVc_QRsf9tiMGyj5RgqWsD-lGGnPgSVgi-aOuZRNEYkzx9UDh309dQc9s3eFIsjJKQjsCZkOFL
    """)
  /// Its public key, SubjectPublicKeyInfo DER.
  static let ecPublicKey = bytes(
    """
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyWfktD0lQhsHVXP0EbH_bYjBso-UYKlrA_pRhpz4ElYIvmjrmUTRGJM8fVA4d9PX\
    UHPbN3hSLIySkI7AmZDhSw
    """)
  /// The key of RFC 3394, section 4.6.
  static let aesKey = [UInt8](0..<32)
  /// The key data of RFC 3394, section 4.6.
  static let aesSecret = hexadecimal("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
  /// The ciphertext of RFC 3394, section 4.6.
  static let aesWrapped = hexadecimal(
    "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21")

  private static func bytes(_ text: String) -> [UInt8] { [UInt8](base64URL: text) ?? [] }
  private static func hexadecimal(_ text: String) -> [UInt8] { [UInt8](hexadecimal: text) ?? [] }
}
