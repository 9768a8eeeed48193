/// Keys that are written down somewhere, member by member.
enum WrittenKeys {
  /// RFC 7517, appendix A.2: the RSA key.
  static let rsa: [String: String] = [
    "kty": "RSA",
    "n":
      "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK"
      + "RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMic"
      + "AtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3"
      + "XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "d":
      "X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7hT5fJLM0WbFAKNLWY2vv"
      + "7B6NqXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIkJ46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t"
      + "8MN6TNwm0dSawm9v47UiCl3Sk5ZiG7xojPLu4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2W"
      + "Bii3RL-Us2lGVkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q",
    "p":
      "83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmC"
      + "MjOpSXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8Bc9vY41xy8B9RzzOGVQzXvNEvn7O0nVbfs",
    "q":
      "3dfOR9cuYq-0S-mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiWft_NGE"
      + "iovonizhKpo9VVS78TzFgxkIdrecRezsZ-1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk",
    "dp":
      "G4sPXkc6Ya9y8oJW9_ILj4xuppu0lzi_H7VTkS8xj5SdX3coE0oimYwxIi2emTAue0UOa5dpgFGyBJ4c8tQ2VF402XRugKDT"
      + "P8akYhFo5tAA77Qe_NmtuYZc3C3m3I24G2GvR5sSDxUyAN2zq8Lfn9EUms6rY3Ob8YeiKkTiBj0",
    "dq":
      "s9lAH9fggBsoFR8Oac2R_E2gw282rT2kGOAhvIllETE1efrA6huUUvMfBcMpn8lqeW6vzznYY5SSQF7pMdC_agI3nG8Ibp1B"
      + "Ub0JUiraRNqUfLhcQb_d9GF4Dh7e74WbRsobRonujTYN1xCaP6TO61jvWrX-L18txXw494Q_cgk",
    "qi":
      "GyM_p6JrXySiz1toFgKbWV-JdI3jQ4ypu9rbMWx3rQJBfmt0FoYzgUIZEVFEcOqwemRN81zoDAaa-Bk0KWNGDjJHZDdDmFhW"
      + "3AN7lI-puxk_mHZGJ11rxyR8O55XLSe3SPmRfKwZI6yU24ZxvQKFYItdldUKGzO6Ia6zTKhAVRU",
  ]

  /// RFC 7517, appendix A.2: the EC key.
  static let ec: [String: String] = [
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
  ]

  /// RFC 7517, appendix A.3: a key of 16 bytes for AES.
  static let shortAES = ["kty": "oct", "k": "GawgguFyGrWKav7AX4VKUg"]

  /// All of its numbers fit but `p`, a worst case for the test of Miller and Rabin (Wycheproof, primality, number 43).
  static let pseudoprime: [String: String] = [
    "kty": "RSA",
    "n":
      "1JTBq48xUSLMvjaLS_5obTrtw5ltYiJsU5pokzOWvkWTCjWUqx9xp8sIEEJACTqAoHIisvEhmdvyXmQEgqQTyW3hzcjthA8J"
      + "sPt9_ShvIKlYHEM6ygvTLpYLTRV7qb9DujufyWiCmkvllGZy8A2EO3iug6JfAUDQW9E7XppqZJOrwObj_9EybLQFIdGqfNo4"
      + "bdO_LC36MxNc2JH1qltVqo80r2EnFhztWZUdSmPMXmfhMUGmGQJq35qioLfl9b_yh6qj3t-tk0sTtbeyrB8cnDXlxw1AGeDU"
      + "YD1OojJVAAio-E9Z5lQtFpEt3OGpSi1UHMfuKNwQZm5erj2LKQImPw",
    "e": "AQAB",
    "d":
      "brCgJ5sbLHEL9_9uvAmi8Ao_Kho5wPkrofZEsMesAzQD3Gajgt2P0LVnY9y04bLhekONmp9aktx0Cn8J2i_IhDOZeac_nzcC"
      + "IaWfDkx_kM8DK7Q8aF6_5JuirTPPShQAsBHCO2pJY9shL9fCNKM7hCJsVetPwAp_pukyGl1NPBC0ffXHcrsAaxXL13zQPooH"
      + "tEufP0dqeX8WPTN7Hrgdk5tKYTToy_JXrNwhR8-SLVfnmJmj5TwBWGwHsrRMlgcVzLpDJCofczSaELjtjVVqf2obLLoPO1Xn"
      + "LJPhCxBy_bys0i725zhoi1Isq-8mfnWl1khcqiiAWsPaf-dRYV9J",
    "p":
      "_9CEfN2lpP39I0W8cx8bx3hDR4lQ0zsoMO8Mr43v_b5jCf5h-2fd7WZZ5DPzA2MznbzHwIMlk_M8JKi48OKAOMtu3u1YrnZe"
      + "aISsC2a1IYzHWOYkcmnSS-n5GGXTPBBSGf-84AxsLWORRIZDvPUTgmj1ECWPY4uQpsi1O_wSF1k",
    "q":
      "1Lw23Qj-U1ceLRdDxyYkFXX-2CeRLA0FLAk7TAYkN6qkQogYirztHLcdozZvJlb5uUvx22pRBvlgRIIDMA1vmc1-SnoFoAVw"
      + "srzPXP9j5X2b3cBj1y15PrJqIptaHmY7tmvhb4GX5H8XHQNxhJKJgsb4UYjtGbi--aUWMvmuD1c",
    "dp":
      "bNVfqGf8Ewfj7F-83xV7Eg_-P68R7ewbG0Z4lS_DzKZ1KElLklQMPPXwhH_9gZFw4kjwitzA3gL7sXT-yazzdDZIgxtjQUYm"
      + "wDzBnVAi-5UTMqUnGG4hBB8U1OZtSf5_j4QX7RIb6-uSYB7nLrrtg-v3Ztkz-dvkvLBjOpPxdnE",
    "dq":
      "UygngguL7uP1Bcc8VVKRdFolfjUpSEDmrqoFJdiYu7HWd7NfdIwZW8owqaYTmLcS8t2-8vgCKGm-ucjgmh4Ga-ap4U8Fd-Ho"
      + "hdXMcRvb3s9U6D_WRzydUmbHmjOD7LIl0U8mVkIgL8-GJ287Jolpe1dvpd-SXyWacVeY7-AtrA0",
    "qi":
      "dPm9dGl5SPdH81-zcNfQ4v-0DfwotVU9tyhHH6GZP36yIbdUDkbOmwLcPnvSBETGhNA11WTD0N6Cy8Gi2PdI_AhpKuQCL2OT"
      + "t7JVThRuOas1i1M0O0DdONabmZHxA8WblGSia_yO4swgTJEJ7bVYhfq0xNYMzCfuzVMpxV9EWwY",
  ]

  /// All of its numbers fit but `p`, a Carmichael number (Wycheproof, primality, number 102).
  static let carmichael: [String: String] = [
    "kty": "RSA",
    "n":
      "r0BQn-vxuxoFH4StjJkyyO81Fkk_hllVaeBAqG-0c5bze61zZTUTo_oQheQ31qYnGrM056056OdG60vKFD8Mk4fQ7fO5KWPy"
      + "Kpx2vwNkEZ1VKMUSoz7I8trta92v6ItHHuhTJE9TikwFAUPjZQmpXehk78i3UIcJ-_Cm0YU19aRx68oa3dT4nH_AyjaHjCMN"
      + "Cic0ZwODS473gMfn6hFQBJ1uRvQk_U1X2Qozrq52C6Tgw6fDiWkIVc_HD62KjtP1Us7U2kmpVF_edG4rciXhIhFLh4A57ucU"
      + "ODNK_6bLgnshftN0rgwcIOti3fGsotGKWH3jQoDWg3GevzXp39Siuw",
    "e": "AQAB",
    "d":
      "RGXLkb7aZ3WuTjDQMzGPepCxnXMVEfBHv7zAP3zpZruhZ8G4aeWfNr5gOIFrsaDDXk5W9ZzMHzQ0n5zCz8gTtnipeFVJDPhv"
      + "CWZrif1ezuki1Xik34Wfk_kR9KlfAFlrdoqh-GflaPJmeanvU_3DVl1fF560vP8XTHcOBHQDLU1LZK3v-ISq_sR-9R9eFIOE"
      + "6FejqZScp1AhOfCke04UlHQsc64kiwzdp4buenp9IyaTHWVeVQoIhhgk7ZLFHJtKjJ1rR-NgF9g0NvgXJTMeGSiguvaSjajv"
      + "P8eSRQLrNoDxrkDsNyaZh6xVtv4uz_uzGunXqmCE8-M6yUuIq3jh4Q",
    "p":
      "sxCqThb1nlXfEYc521rCG2WXn_Ws0c1IOXFqY-tO-Wav6KBKh3VI-igaJSyKHNTmIHfy71Ai6FXWDQaiSpHL0EIyOSaq7B91"
      + "-0zcTLr_OkJ1kDwibVmCwidA4X0-C8e_W8I-cnOzv4bK2EmOef_EMFQpLzjuA1_p9n1sVCYx-DM",
    "q":
      "-owpvfCFmbIvaPcO-fDeBGZ7ZwgQwDoHpI6yLySLxcl_axwT2Ct2oxtdAp_B_ODLTJ3aJM8UOfsf6MdAG8iVLKcAVb-ak2Do"
      + "kMrEWisrBcrSvXC5uRWgkDFEONJdsnvbnjDQ4B4sPKwA-vaDSY4Rqhl_5QRtYRjCQsjXHemAQ1k",
    "dp":
      "Rh5Nghyte54Gprd8KXBFuDK1CBdM4C7xjETkM1JOb40Nbxttc9OyivqvGkVxo86eerJdt-Z6dN4_3oPtgyPKWrfBMO36WlIL"
      + "gidb0NQc43Ro0t0pYgZ-FIcIegPwCu7h-Q18JJc4GNSwk7diClXkPkSGiA5T7ZBebn44sE7wnE8",
    "dq":
      "OAalwuqJBZB514__klaRXwyHpceA72tKkDq0j6QteUIQsyPpMBqwAdM5nj-ZQnIGJBDcWgTQchK81PHRXSUiboS9p28cIr61"
      + "4sLk24Dxsu7i5yfQ8Bls-TF7HvWzrBjUSHCEFMnKfJq98WC0hPs26gGfvteZme_OaN6-c9rmKqk",
    "qi":
      "joIW1StNk9A6HK8qB67Zi_rHtpkdL_hVmoPxhaRINfh3R2kB52kn7C_dRz6ysbbm5v2zfD9DHmhkqfsfOfV5TWtGWdbdx22S"
      + "bvrOh_WO9ukZr6divQIRIiN7GTeEFYhlW1rrJa96AO9MGDwD5ueVmFwevU8-v9wKhpL3bGJmUJU",
  ]
}
