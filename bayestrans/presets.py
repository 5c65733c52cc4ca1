"""The surveys that are known by name: a table of columns and published cuts for each."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from .survey_files import read_survey
from .surveys import Cut, GaiaId, Quantity, Sky, Survey, SurveyError, VizieR
from .tables import Layout

GALAH_DR3 = Survey(
    name="galah-dr3",
    title="GALAH DR3",
    source="Buder et al. 2021, MNRAS 506, 150; flags: www.galah-survey.org/dr3/flags",
    verified=True,
    id="sobject_id",
    quantities=(
        Quantity("teff", "teff", "e_teff"),
        Quantity("logg", "logg", "e_logg"),
        Quantity("fe_h", "fe_h", "e_fe_h"),
        Quantity("mg_fe", "Mg_fe", "e_Mg_fe"),
        Quantity("rv", "rv_galah", "e_rv_galah"),
    ),
    cuts=(
        Cut("flag_sp", ("flag_sp",), "equals", 0, "no problem with the stellar parameters"),
        Cut("flag_fe_h", ("flag_fe_h",), "equals", 0, "no problem with [Fe/H]"),
        Cut("flag_mg_fe", ("flag_Mg_fe",), "equals", 0, "no problem with [Mg/Fe]"),
        Cut("snr", ("snr_c3_iraf",), "above", 30, "S/N per pixel of the red camera"),
    ),
    gaia=GaiaId("dr3_source_id", "DR3"),
    sky=Sky("ra_dr2", "dec_dr2", 2015.5),
    snr="snr_c3_iraf",
    vizier=VizieR(
        "J/MNRAS/506/150/stars",
        {
            "GALAH": "sobject_id",
            "GaiaEDR3": "dr3_source_id",
            "GaiaDR2": "dr2_source_id",
            "[Fe/H]": "fe_h",
            "e_[Fe/H]": "e_fe_h",
            "f_[Fe/H]": "flag_fe_h",
            "[Mg/Fe]": "Mg_fe",
            "e_[Mg/Fe]": "e_Mg_fe",
            "f_[Mg/Fe]": "flag_Mg_fe",
            "RVgalah": "rv_galah",
            "e_RVgalah": "e_rv_galah",
        },
    ),
    page="GALAH_DR3_main_allstar_v2.fits from www.galah-survey.org/dr3",
    notes="Quoted temperature errors of giants exceed their scatter against APOGEE.",
)

GALAH_DR4 = Survey(
    name="galah-dr4",
    title="GALAH DR4 (galah_dr4_allstar_240705)",
    source="Buder et al. 2024; www.galah-survey.org/dr4/using_the_data",
    verified=True,
    id="sobject_id",
    quantities=(
        Quantity("teff", "teff", "e_teff"),
        Quantity("logg", "logg", "e_logg"),
        Quantity("fe_h", "fe_h", "e_fe_h"),
        Quantity("mg_fe", "mg_fe", "e_mg_fe"),
        Quantity("rv", "rv_comp_1", "e_rv_comp_1"),
    ),
    cuts=(
        Cut("flag_sp", ("flag_sp",), "equals", 0, "no problem with the spectrum or its fit"),
        Cut("flag_mg_fe", ("flag_mg_fe",), "equals", 0, "no problem with [Mg/Fe]"),
        Cut("snr", ("snr_px_ccd3",), "above", 30, "S/N per pixel of the red camera"),
    ),
    gaia=GaiaId("gaiadr3_source_id", "DR3"),
    sky=Sky("ra", "dec", 2016.0),
    snr="snr_px_ccd3",
    page="galah_dr4_allstar_240705.fits from www.galah-survey.org/dr4",
    notes="flag_fe_h is not used: in this release it is known to be wrong.",
)

APOGEE_DR17 = Survey(
    name="apogee-dr17",
    title="APOGEE DR17",
    source="Abdurro'uf et al. 2022, ApJS 259, 35; bitmasks: www.sdss4.org/dr17/irspec",
    verified=True,
    id="APOGEE_ID",
    quantities=(
        Quantity("teff", "TEFF", "TEFF_ERR"),
        Quantity("logg", "LOGG", "LOGG_ERR"),
        Quantity("fe_h", "FE_H", "FE_H_ERR"),
        Quantity("m_h", "M_H", "M_H_ERR"),
        Quantity("mg_fe", "MG_FE", "MG_FE_ERR"),
        Quantity("rv", "VHELIO_AVG", "VERR"),
    ),
    cuts=(
        Cut("star_bad", ("ASPCAPFLAG",), "bits clear", (23,), "STAR_BAD is not set"),
        Cut("fe_h_flag", ("FE_H_FLAG",), "equals", 0, "no problem with [Fe/H]"),
        Cut("mg_fe_flag", ("MG_FE_FLAG",), "equals", 0, "no problem with [Mg/Fe]"),
        Cut("duplicate", ("EXTRATARG",), "bits clear", (4,), "not the lesser spectrum of a star"),
        Cut("telluric", ("EXTRATARG",), "bits clear", (2,), "not a telluric standard"),
    ),
    gaia=GaiaId("GAIAEDR3_SOURCE_ID", "DR3", also=("dr3_source_id",)),
    sky=Sky("RA", "DEC", 2000.0, "GAIAEDR3_PMRA", "GAIAEDR3_PMDEC"),
    sentinels=(-9999.0, -9999.99, -999.0, -999999.0),
    snr="SNR",
    vizier=VizieR(
        "III/286/catalog",
        {
            "APOGEE": "APOGEE_ID",
            "RAJ2000": "RA",
            "DEJ2000": "DEC",
            "GaiaEDR3": "GAIAEDR3_SOURCE_ID",
            "pmRA": "GAIAEDR3_PMRA",
            "pmDE": "GAIAEDR3_PMDEC",
            "e_Teff": "TEFF_ERR",
            "e_logg": "LOGG_ERR",
            "[Fe/H]": "FE_H",
            "e_[Fe/H]": "FE_H_ERR",
            "f_[Fe/H]": "FE_H_FLAG",
            "[M/H]": "M_H",
            "e_[M/H]": "M_H_ERR",
            "[Mg/Fe]": "MG_FE",
            "e_[Mg/Fe]": "MG_FE_ERR",
            "f_[Mg/Fe]": "MG_FE_FLAG",
            "HRV": "VHELIO_AVG",
            "e_HRV": "VERR",
            "s_HRV": "VSCATTER",
            "AFlag": "ASPCAPFLAG",
        },
    ),
    page="allStar-dr17-synspec_rev1.fits from www.sdss4.org/dr17/irspec/spectro_data",
    notes="Errors are internal; VSCATTER above about 1 km/s marks binaries, which no cut removes.",
)

DESI_DR1 = Survey(
    name="desi-dr1",
    title="DESI DR1 Milky Way Survey",
    source="Koposov et al. 2025; data.desi.lbl.gov/doc/releases/dr1/vac/mws",
    verified=True,
    id="RVTAB_TARGETID",
    quantities=(
        Quantity("teff", "RVTAB_TEFF", "RVTAB_TEFF_ERR"),
        Quantity("logg", "RVTAB_LOGG", "RVTAB_LOGG_ERR"),
        Quantity("fe_h", "RVTAB_FEH", "RVTAB_FEH_ERR"),
        Quantity("alpha_fe", "RVTAB_ALPHAFE", "RVTAB_ALPHAFE_ERR"),
        Quantity("rv", "RVTAB_VRAD", "RVTAB_VRAD_ERR"),
    ),
    cuts=(
        Cut("primary", ("RVTAB_PRIMARY",), "equals", True, "the best observation of the star"),
        Cut("rvs_warn", ("RVTAB_RVS_WARN",), "equals", 0, "no warning of the velocity fit"),
        Cut("star", ("RVTAB_RR_SPECTYPE",), "equals", "STAR", "classified as a star"),
        Cut("sp_success", ("SPTAB_SUCCESS",), "equals", 1, "FERRE's fit succeeded too"),
        Cut(
            "sp_grid",
            ("SPTAB_BESTGRID",),
            "differs",
            "s_rdesi1",
            "no fit of the grid to be avoided",
        ),
        Cut("feh_err", ("RVTAB_FEH_ERR",), "below", 0.1, "a clean [Fe/H]"),
        Cut("vsini", ("RVTAB_VSINI",), "below", 30, "a clean [Fe/H]: slow rotation"),
    ),
    gaia=GaiaId("GAIA_SOURCE_ID", "DR3"),
    sky=Sky("GAIA_RA", "GAIA_DEC", 2016.0, "GAIA_PMRA", "GAIA_PMDEC"),
    sentinels=(-9999.0,),
    snr="RVTAB_SN_R",
    layout=Layout(hdus=("RVTAB", "SPTAB", "GAIA")),
    page="mwsall-pix-iron.fits from data.desi.lbl.gov/doc/releases/dr1/vac/mws",
    notes="Parameters are RVSpecfit's (RVTAB), which quotes an error for each; FERRE's (SPTAB) "
    "serve the cuts. ALPHAFE is [alpha/Fe], not [Mg/Fe].",
)

GAIA_GSPSPEC = Survey(
    name="gaia-gspspec-dr3",
    title="Gaia GSP-Spec DR3",
    source="Recio-Blanco et al. 2023, A&A 674, A29",
    verified=True,
    id="source_id",
    quantities=(
        Quantity("teff", "teff_gspspec", ("teff_gspspec_lower", "teff_gspspec_upper")),
        Quantity(
            "logg",
            "logg_gspspec",
            ("logg_gspspec_lower", "logg_gspspec_upper"),
            calibration=(0.4496, -0.0036, -0.0224),
        ),
        Quantity("m_h", "mh_gspspec", ("mh_gspspec_lower", "mh_gspspec_upper")),
        Quantity("mg_fe", "mgfe_gspspec", ("mgfe_gspspec_lower", "mgfe_gspspec_upper")),
    ),
    cuts=(
        Cut("best", ("flags_gspspec",), "starts with", "0" * 13, "the best parameters"),
        Cut("mg", ("flags_gspspec",), "zero at", (16, 17), "a good [Mg/Fe]"),
    ),
    gaia=GaiaId("source_id", "DR3"),
    sky=Sky("ra", "dec", 2016.0, "pmra", "pmdec"),
    snr="rvs_spec_sig_to_noise",
    layout=Layout(text=("flags_gspspec",)),
    page="gaiadr3.astrophysical_parameters in the Gaia archive, gea.esac.esa.int/archive",
    notes="log g is calibrated as its authors ask (a polynomial in log g). [M/H] is not [Fe/H].",
)

GAIA_ESO = Survey(
    name="gaia-eso-dr5.1",
    title="Gaia-ESO DR5.1 (provisional)",
    source="Hourihane et al. 2023, A&A 676, A129; not yet checked against the released file",
    verified=False,
    id="CNAME",
    quantities=(
        Quantity("teff", "TEFF", "E_TEFF"),
        Quantity("logg", "LOGG", "E_LOGG"),
        Quantity("fe_h", "FEH", "E_FEH"),
        Quantity("rv", "VRAD", "E_VRAD"),
    ),
    cuts=(
        Cut("sflags", ("SFLAGS",), "blank or", ("NIA",), "no simplified flag raised"),
        Cut("e_feh", ("E_FEH",), "below", 0.1, "a clean [Fe/H]"),
    ),
    sky=Sky("RA", "DECLINATION", 2000.0),
    snr="SNR",
    page="the ESO Science Portal, Gaia-ESO data release 5.1",
    notes="SETUP tells UVES from GIRAFFE spectra; use one of them at a time. Provisional preset.",
)

RAVE_DR6 = Survey(
    name="rave-dr6",
    title="RAVE DR6 (provisional)",
    source="Steinmetz et al. 2020, AJ 160, 82 and 83; not yet checked against the released files",
    verified=False,
    id="rave_obs_id",
    quantities=(
        Quantity("teff", "teff_cal_madera", "teff_error_madera"),
        Quantity("logg", "logg_cal_madera", "logg_error_madera"),
        Quantity("m_h", "m_h_cal_madera", "m_h_error_madera"),
        Quantity("rv", "hrv_sparv", "hrv_error_sparv"),
    ),
    cuts=(Cut("algo_conv", ("algo_conv_madera",), "equals", 0, "the MADERA fit converged"),),
    gaia=GaiaId("source_id", "DR2"),
    sky=Sky("ra_input", "dec_input", 2000.0),
    snr="snr_med_sparv",
    page="dr6_madera, dr6_sparv and dr6_x_gaiadr2, joined by rave_obs_id, at www.rave-survey.org",
    notes="Join the tables of the release first. m_h is [M/H], not [Fe/H]. Provisional preset.",
)

LAMOST_LRS = Survey(
    name="lamost-lrs",
    title="LAMOST DR9 and DR10 LRS AFGK (provisional)",
    source="www.lamost.org/dr10; not yet checked against the released file",
    verified=False,
    id="obsid",
    quantities=(
        Quantity("teff", "teff", "teff_err"),
        Quantity("logg", "logg", "logg_err"),
        Quantity("fe_h", "feh", "feh_err"),
        Quantity("rv", "rv", "rv_err"),
    ),
    cuts=(Cut("snrg", ("snrg",), "above", 30, "S/N in the g band"),),
    gaia=GaiaId("gaia_source_id", "DR3"),
    sky=Sky("ra", "dec", 2000.0),
    sentinels=(-9999.0,),
    snr="snrg",
    layout=Layout(separator="|"),
    page="the catalogue of A, F, G and K type stars (CSV) from www.lamost.org",
    notes="There is no [Mg/Fe]. Provisional preset.",
)

SURVEYS: dict[str, Survey] = {
    preset.name: preset
    for preset in (
        *(GALAH_DR3, GALAH_DR4, APOGEE_DR17, DESI_DR1, GAIA_GSPSPEC),
        *(GAIA_ESO, RAVE_DR6, LAMOST_LRS),
    )
}


def survey(name: str | os.PathLike[str] | Survey) -> Survey:
    """Return the preset of a survey, or one that a file describes.

    Parameters
    ----------
    name : str, path-like or Survey
        Such as ``"galah-dr3"``, in upper or lower case; the path of a TOML file that
        describes a survey of your own; a `Survey` is returned as it is.

    Raises
    ------
    SurveyError
        For a name that is not known, with the nearest ones, or a file with a fault.

    Examples
    --------
    >>> survey("galah-dr3").gaia.release
    'DR3'
    """
    if isinstance(name, Survey):
        return name
    if str(name).lower().endswith(".toml"):
        return read_survey(Path(name))
    key = str(name).lower().replace("_", "-").replace(" ", "-")
    if key not in SURVEYS:
        near = difflib.get_close_matches(key, SURVEYS, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise SurveyError(
            f"there is no preset {name!r}{hint}; presets: {', '.join(SURVEYS)}; for another survey "
            "describe it in a file and give that (mine.toml), or join the tables and write a spec"
        )
    return SURVEYS[key]


def overview() -> str:
    """Return one line for each preset: name, standing, title."""
    rows = [
        f"{item.name:18s}{'verified' if item.verified else 'provisional':13s}{item.title}"
        for item in SURVEYS.values()
    ]
    return "\n".join(rows)
